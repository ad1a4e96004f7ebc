// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Keys of the namespace store: one byte that names the table, then numbers in big-endian order, so that the
// rows of one inode lie together and iterate in order. docs/disk-format.md lists them with their values.
#pragma once

#include <kj/string.h>

#include <cstring>
#include <string_view>

#include "rpc/units.h"

namespace cairn {

enum class Table : char {
  STATE = 'M',         //                          -> NamespaceState
  INODES = 'I',        // inode                    -> Inode
  NAMES = 'D',         // directory, name hash     -> the entries with that hash (almost always one)
  FILE_CHUNKS = 'C',   // inode, chunk index       -> handle
  CHUNKS = 'H',        // handle                   -> ChunkRecord
  TARGETS = 'L',       // inode                    -> symlink target
  XATTRS = 'X',        // inode, attribute name    -> value
  ORPHANS = 'O',       // inode                    -> OrphanRecord
  GARBAGE = 'G',       // handle                   -> version
  SESSIONS = 'S',      // session                  -> SessionRecord
  ANSWERS = 'A',       // session, sequence        -> Outcome
  STORES = 'T',        // UUID of the store        -> server id
  TRASH = 'W',         // time it goes, inode      -> Departure
  WHEREABOUTS = 'P',   // directory                -> Whereabouts
  USAGE = 'U',         // directory                -> Usage
  QUOTAS = 'Q',        // directory                -> QuotaLimits
  COUNT = 'N',         // directory to be counted  -> place up to which it is
  BACKLINKS = 'B',     // inode                    -> Backlinks
  STAGINGS = 'J',      // inode of the top         -> StagingRecord
  STAGED_WORK = 'K',   // top, inode of the copy   -> source, how far
  STAGED_LINKS = 'Y',  // top, source with several names -> inode of the copy
};

class Key {
 public:
  explicit Key(Table table) { append(static_cast<char>(table)); }
  Key(Table table, uint64_t first) : Key(table) { append(first); }
  Key(Table table, uint64_t first, uint64_t second) : Key(table, first) { append(second); }
  Key(Table table, kj::StringPtr text) : Key(table) { append(text); }
  Key(Table table, uint64_t first, kj::StringPtr text) : Key(table, first) { append(text); }

  std::string_view view() const { return {bytes, length}; }
  operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)

 private:
  static constexpr size_t SIZE_MAX_BYTES = 1 + 8 + 255;
  char bytes[SIZE_MAX_BYTES];
  size_t length = 0;

  void append(char byte) { bytes[length++] = byte; }
  void append(uint64_t number) {
    for (int shift = 56; shift >= 0; shift -= 8) append(static_cast<char>(number >> shift));
  }
  void append(kj::StringPtr text);
};

class KeyReader {
  // Takes a key apart again.
 public:
  explicit KeyReader(std::string_view key) : rest(key) { skip(1); }
  uint64_t number();
  std::string_view text() const { return rest; }

 private:
  std::string_view rest;
  void skip(size_t count) { rest.remove_prefix(count < rest.size() ? count : rest.size()); }
};

// The place of a name in its directory: a hash of 60 bits with a slot of 3 bits for names that share it. It
// is the key of the entry, so a lookup is one get, and the cookie of readDirectory, so an entry keeps its
// place whatever comes and goes around it, with nothing to remember between two calls. (A rising number per
// entry would list in order of creation, but costs a second key for each name.) The hash is keyed by the
// cluster id: names that collide cannot be prepared without knowing it, and eight of them would have to.
constexpr uint64_t SLOTS_PER_HASH = 8;
constexpr uint64_t COOKIE_MIN = 1024;
uint64_t placeOf(const ClusterId& cluster, kj::StringPtr name);  // slot 0; positive as off_t

uint64_t sipHash(uint64_t key0, uint64_t key1, kj::ArrayPtr<const char> data);  // SipHash-2-4

}  // namespace cairn
