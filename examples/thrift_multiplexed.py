"""Two thrift services on one port, and over HTTP as well; one of them never waits for anything."""
from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.tasks.tornado_thrift import ThriftHTTPTask
from sparts.thrift.compiler import CompileContext
from sparts.vservice import VService

idl = CompileContext().importThriftStr("""
    service Words { string upper(1: string text) }
    service Numbers { i64 twice(1: i64 number) }
""")


class WordsHandler(ThriftHandlerTask):
    MODULE = idl.Words

    def upper(self, text: str) -> str:
        return text.upper()


class NumbersHandler(ThriftHandlerTask):
    MODULE = idl.Numbers
    INLINE = True

    def twice(self, number: int) -> int:
        return 2 * number


class FramedServer(NBServerTask):
    MULTIPLEX = True


class HTTPServer(ThriftHTTPTask):
    MULTIPLEX = True


class MyService(VService):
    TASKS = [WordsHandler, NumbersHandler, FramedServer, HTTPServer]


if __name__ == "__main__":
    MyService.initFromCLI()
