"""A thrift service: a plain method, a coroutine, a declared exception, and who asks."""
import asyncio

from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.thrift.calls import caller
from sparts.thrift.compiler import CompileContext
from sparts.vservice import VService

calculator = CompileContext().importThriftStr("""
    exception DivisionByZero { 1: string why }

    service Calculator {
        i64 add(1: i64 a, 2: i64 b),
        double divide(1: double a, 2: double b) throws (1: DivisionByZero refused),
        string whoami(),
    }
""")


class CalculatorHandler(ThriftHandlerTask):
    MODULE = calculator

    def add(self, a: int, b: int) -> int:
        return a + b

    async def divide(self, a: float, b: float) -> float:
        await asyncio.sleep(0.001)  # it may wait as long as it likes
        if b == 0:
            raise calculator.DivisionByZero(why="there is no such number")
        return a / b

    def whoami(self) -> str:
        return f"somebody at {caller()}"


class MyService(VService):
    TASKS = [CalculatorHandler, NBServerTask]


if __name__ == "__main__":
    MyService.initFromCLI()
