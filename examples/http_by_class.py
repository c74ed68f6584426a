from sparts.vservice import VService
from sparts.tasks.tornado import TornadoIOLoopTask, TornadoHTTPTask

class MyService(VService):
    ALL_TASKS=[TornadoIOLoopTask, TornadoHTTPTask]
    DEFAULT_PORT=8000


if __name__ == "__main__":
    MyService.initFromCLI()
