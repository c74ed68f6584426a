// Everything that thrift can say, to be sent both ways by every peer.
enum Colour { RED = 1, GREEN = 2, BLUE = -3 }

exception Refused { 1: string why, 2: i32 code }
exception Gone { 1: string what }

struct Point { 1: required i32 x, 2: optional i32 y = 7 }

union Shape { 1: Point point, 2: string name, 3: list<Shape> group }

struct Tree { 1: i32 value, 2: list<Tree> children }

struct Everything {
  1: bool yes, 2: byte small, 3: i16 short, 4: i32 medium, 5: i64 long, 6: double real,
  7: string text, 8: binary raw, 9: Colour colour, 10: Point point, 11: Shape shape,
  12: list<i64> numbers, 13: set<string> words, 14: map<string, list<Point>> places,
  15: map<i32, map<string, bool>> nested, 16: list<list<double>> grid, 17: set<i16> shorts,
  18: list<binary> blobs, 200: optional string far,
}

service Base {
  void ping(),
  string who(),
}

service Echo extends Base {
  string text(1: string text),
  binary raw(1: binary raw),
  Everything everything(1: Everything everything),
  Tree tree(1: Tree tree),
  i64 add(1: i64 a, 2: i64 b),
  Shape shape(1: Shape shape),
  void fail(1: string how) throws (1: Refused refused, 2: Gone gone),
  oneway void tell(1: string text),
  string slowly(1: string text),
}

service Other {
  i32 answer(),
  string text(1: string text),
}
