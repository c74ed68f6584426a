// Defaults that can change, and results that can be missing.
struct Inner {
  1: list<i32> numbers = [5],
}
exception Refused {
  1: list<i32> numbers = [5],
}
struct Outer {
  1: list<Inner> inners,
  2: map<string, Inner> named,
}
service Defaults {
  list<i32> append(1: list<i32> numbers = [1], 2: i32 number = 3),
  Inner inner(1: Inner inner = {"numbers": [7]}),
  Outer outer(1: Outer outer),
  Outer empty(1: bool refused) throws (1: Refused refused),
  i32 forgets(),
  void nothing(),
}
