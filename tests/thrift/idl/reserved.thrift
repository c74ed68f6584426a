// Methods that are named like attributes of every task.
service Reserved {
  void start(),
  void stop(),
  string join(1: string other),
  string name(),
  string processor(),
  string initTask(1: string other),
}
