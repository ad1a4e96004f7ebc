// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Only in builds with -Db_sanitize=thread: what RocksDB calls of the C library is not looked at. A
// distribution's RocksDB is not instrumented: the atomics with which it orders its threads are not seen, its
// calls of memcmp and delete are, and each pair of them would be a report. What we call ourselves, also from
// RocksDB's threads, is looked at as ever.
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:librocksdb.so\n";
}
