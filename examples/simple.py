from sparts.vservice import VService
class MyService(VService):
    pass


if __name__ == "__main__":
    MyService.initFromCLI()
