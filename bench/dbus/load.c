/* Calls a method over D-Bus as fast as it is answered, by libdbus, and prints calls per second.
 *
 * load ADDRESS IN_FLIGHT SECONDS [FILE]: sends the message in FILE, or calls
 * org.example.Bench.Echo("hello") of /bench.
 * cc -O2 load.c $(pkg-config --cflags --libs dbus-1)
 */
#include <dbus/dbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static DBusConnection *connection;
static long answered;
static int stopped;
static DBusMessage *message;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void call(void);

static void notify(DBusPendingCall *pending, void *unused)
{
    DBusMessage *reply = dbus_pending_call_steal_reply(pending);
    if (dbus_message_get_type(reply) == DBUS_MESSAGE_TYPE_ERROR) {
        fprintf(stderr, "%s\n", dbus_message_get_error_name(reply));
        exit(1);
    }
    dbus_message_unref(reply);
    dbus_pending_call_unref(pending);
    answered++;
    if (!stopped)
        call();
}

static void call(void)
{
    DBusPendingCall *pending;
    DBusMessage *copy = dbus_message_copy(message);
    dbus_connection_send_with_reply(connection, copy, &pending, -1);
    dbus_message_unref(copy);
    dbus_pending_call_set_notify(pending, notify, NULL, NULL);
}

static DBusMessage *hello(void)
{
    static const char *text = "hello";
    DBusMessage *made = dbus_message_new_method_call("org.example.Bench", "/bench",
                                                     "org.example.Bench", "Echo");
    dbus_message_append_args(made, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    return made;
}

static DBusMessage *read_message(const char *path)
{
    static char data[1 << 20];
    FILE *file = fopen(path, "rb");
    return file ? dbus_message_demarshal(data, fread(data, 1, sizeof data, file), NULL) : NULL;
}

int main(int argc, char **argv)
{
    int in_flight = atoi(argv[2]);
    double seconds = atof(argv[3]), began, before;
    long counted;
    connection = dbus_connection_open_private(argv[1], NULL);
    if (!connection || !dbus_bus_register(connection, NULL))
        return 1;
    message = argc > 4 ? read_message(argv[4]) : hello();
    if (!message)
        return 1;
    for (int i = 0; i < in_flight; i++)
        call();
    before = now();
    while (now() - before < 0.1)
        dbus_connection_read_write_dispatch(connection, -1);
    began = now();
    counted = answered;
    while (now() - began < seconds)
        dbus_connection_read_write_dispatch(connection, -1);
    printf("%f\n", (answered - counted) / (now() - began));
    return 0;
}
