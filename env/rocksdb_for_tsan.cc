// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Only in builds with -Db_sanitize=thread: an access below a call of RocksDB is not reported. A
// distribution's RocksDB is not instrumented: the atomics with which it orders its threads are not seen, but
// its calls of memcmp and delete are, and so are the templates of the standard library that it shares with
// us. What we do ourselves, next to its calls, is looked at as ever.
//
// A test forks a daemon to kill it, when RocksDB's threads are already there: TSan can only be told to try
// all the same.

// NOLINTBEGIN(bugprone-reserved-identifier): the names by which TSan asks
extern "C" const char* __tsan_default_options() {
  return "die_after_fork=0";
}
extern "C" const char* __tsan_default_suppressions() {
  return "race:librocksdb.so\nmutex:librocksdb.so\n";
}
// NOLINTEND(bugprone-reserved-identifier)
