// Fields without numbers, as old interfaces have them.
service Numberless {
  string join_texts(string one, string other),
}
