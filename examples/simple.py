from sparts.vservice import VService
class MyService(VService):
    pass

MyService.initFromCLI()
