/**
 * fb303: what a service says about itself, and the few things that it can be asked to do.
 *
 * The names, numbers and types are those that tools and services have always used: of
 * contrib/fb303/if/fb303.thrift in Apache Thrift, and for counters by pattern and exported values of
 * fb303_core.thrift in fbthrift. Include this file to extend the service:
 *
 *   include "fb303.thrift"
 *   service Calculator extends fb303.FacebookService { ... }
 */
namespace py sparts.thrift.fb303

/** Where a service is in its life. */
enum fb_status {
  DEAD = 0,
  STARTING = 1,
  ALIVE = 2,
  STOPPING = 3,
  STOPPED = 4,
  WARNING = 5,
}

/** The service that others extend. */
service FacebookService {
  /** The name of the service. */
  string getName(),

  /** The version of the service. */
  string getVersion(),

  /** Where the service is in its life. */
  fb_status getStatus(),

  /** Why the status is what it is, for a person. */
  string getStatusDetails(),

  /** All counters by name. */
  map<string, i64> getCounters(),

  /** The counters whose names a regular expression matches. */
  map<string, i64> getRegexCounters(1: string regex),

  /** The counters of these names that there are. */
  map<string, i64> getSelectedCounters(1: list<string> keys),

  /** One counter; 0 if there is none of that name. */
  i64 getCounter(1: string key),

  /** All exported values by name. */
  map<string, string> getExportedValues(),

  /** The exported values of these names that there are. */
  map<string, string> getSelectedExportedValues(1: list<string> keys),

  /** The exported values whose names a regular expression matches. */
  map<string, string> getRegexExportedValues(1: string regex),

  /** One exported value; empty if there is none of that name. */
  string getExportedValue(1: string key),

  /** Set an option. */
  void setOption(1: string key, 2: string value),

  /** One option; empty if there is none of that name. */
  string getOption(1: string key),

  /** All options by name. */
  map<string, string> getOptions(),

  /** Profile the process for so long, and tell which functions took its CPU time. */
  string getCpuProfile(1: i32 profileDurationInSec),

  /** When the service was started, in seconds since the epoch. */
  i64 aliveSince(),

  /** Load the configuration again, reopen log files. */
  oneway void reinitialize(),

  /** Stop. */
  oneway void shutdown(),
}
