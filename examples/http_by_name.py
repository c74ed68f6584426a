from sparts.vservice import VService

class MyService(VService):
    TASKS = ["TornadoHTTPTask"]

MyService.initFromCLI()
