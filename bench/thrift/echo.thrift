struct Blob {
  1: string name, 2: i64 number, 3: string text, 4: list<i32> numbers, 5: map<string, string> labels,
  6: bool flag, 7: double ratio,
}

service Echo {
  string small(1: string text),
  Blob large(1: Blob blob),
}
