from sparts.vservice import VService

class MyService(VService):
    TASKS = ["TornadoHTTPTask"]


if __name__ == "__main__":
    MyService.initFromCLI()
