namespace py interop.included

enum Color { RED = 1, BLUE = 4 }

exception Declared { 1: string why, 2: i32 code }

service Base {
  /** Says the text again. */
  string echoString(1: string value)
}
