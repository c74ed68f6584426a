/* Calls a method over D-Bus as fast as it is answered, by libdbus, and prints calls per second.
 *
 * load ADDRESS IN_FLIGHT SECONDS: calls org.example.Bench.Echo("hello") of /bench.
 * cc -O2 load.c $(pkg-config --cflags --libs dbus-1)
 */
#include <dbus/dbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static DBusConnection *connection;
static long answered;
static int stopped;

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
    const char *text = NULL;
    if (!dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID)) {
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
    static const char *text = "hello";
    DBusPendingCall *pending;
    DBusMessage *message = dbus_message_new_method_call("org.example.Bench", "/bench",
                                                        "org.example.Bench", "Echo");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    dbus_connection_send_with_reply(connection, message, &pending, -1);
    dbus_message_unref(message);
    dbus_pending_call_set_notify(pending, notify, NULL, NULL);
}

int main(int argc, char **argv)
{
    int in_flight = atoi(argv[2]);
    double seconds = atof(argv[3]), began, before;
    long counted;
    connection = dbus_connection_open_private(argv[1], NULL);
    if (!connection || !dbus_bus_register(connection, NULL))
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
