namespace py interop.main

include "included.thrift"

exception Other { 1: included.Color color }

struct Everything {
  1: bool flag
  2: i8 tiny
  3: i16 small
  4: i32 middle
  5: i64 large
  6: double real
  7: string text
  8: binary bytes
  9: included.Color color
  10: list<i64> numbers
  11: set<string> words
  12: map<string, list<double>> table
  13: optional string missing
  14: i32 preset = 42
}

union Choice { 1: i64 number, 2: string word, 3: Everything all }

struct Deep { 1: list<Everything> items, 2: map<i32, map<string, Choice>> choices, 3: list<list<set<i16>>> nest }

service Interop extends included.Base {
  bool echoBool(1: bool value)
  i8 echoByte(1: i8 value)
  i16 echoI16(1: i16 value)
  i32 echoI32(1: i32 value)
  i64 echoI64(1: i64 value)
  double echoDouble(1: double value)
  binary echoBinary(1: binary value)
  included.Color echoColor(1: included.Color value)
  list<i64> echoList(1: list<i64> value)
  set<string> echoSet(1: set<string> value)
  map<string, i64> echoMap(1: map<string, i64> value)
  Everything echoEverything(1: Everything value)
  Deep echoDeep(1: Deep value)
  Choice echoChoice(1: Choice value)
  string join(1: string first, 2: string second)
  void nothing()
  void fail(1: string how) throws (1: included.Declared declared, 2: Other other)
  string failText(1: string how) throws (1: included.Declared declared)
  oneway void note(1: string text)
  string noted()
  i32 served()
  void hang()
}

service Second { string which() }
