// Methods that are named like those of every task.
service Stops {
  string stop(),
  string join(1: string other),
}
