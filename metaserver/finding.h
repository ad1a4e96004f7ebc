// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a check of the cluster has found, as a value; how it is told to people, in one place; and which
// findings can be repaired without a choice. Pure.
#pragma once

#include <kj/string.h>

#include <string>
#include <vector>

#include "metaserver/inode.h"
#include "rpc/units.h"

namespace cairn {

enum class Trouble : uint16_t {
  // The numbers are in the operation log (Mending.trouble): new ones come last.
  // -- names
  NAME_LEADS_NOWHERE,     // `directory` has `name`, its inode is not there
  NAME_OF_WRONG_TYPE,     // the entry says `found`, the inode `right`
  NAMES_OF_NO_DIRECTORY,  // entries of `inode`, which is no directory
  LINKS,                  // the inode says `found`, there are `right`
  DIRECTORY_SIZE,         // the same, of entries
  PARENT,                 // the directory says `found`, it is in `right`
  SEVERAL_NAMES,          // of a directory: `found`
  UNREACHABLE,            // no name leads to it, and it is neither open nor in the trash
  CYCLE,                  // a directory that its parents do not lead to the root from
  // -- files
  FILE_CHUNKS,           // the file says `found` chunks, there are `right`
  ZERO_BLOCKS,           // likewise
  CHUNKS_END,            // a chunk lies beyond `found`: it must be `right`
  PLACE_WITHOUT_FILE,    // a chunk at place `found` of an inode that is not there
  PLACE_WITHOUT_RECORD,  // the file has `chunk` at place `found`, of which there is no record
  SYMLINK_WITHOUT_TARGET,
  ATTRIBUTE_BYTES,  // of extended attributes: `found` on record, there are `right`
  ATTRIBUTE_NAMES,
  ROWS_OF_NO_INODE,  // `found` rows of attributes or a target
  // -- chunks
  REFERENCES,         // the record says `found`, there are `right` places
  CHUNK_OF_NO_FILE,   // a record without a place
  CHUNK_AND_GARBAGE,  // a live chunk is on the list of what may be deleted
  FLOOR_ABOVE_VERSION,
  // -- orphans, trash, quotas
  ORPHAN_GONE,  // on the list, and not there, or with names
  TRASH_GONE,
  TRASH_MARK,    // the inode says that it is in the trash, which it is not; or the other way round
  WHEREABOUTS,   // `found` need the directory, in truth `right`
  USAGE_INODES,  // of what is below `inode`
  USAGE_BYTES,
  USAGE_TRASH_INODES,
  USAGE_TRASH_BYTES,
  QUOTA_MARK,
  BACKLINKS,  // names of `inode` in `directory`: `found` on record, `right`
  ANSWERS_OF_NO_SESSION,
  // -- counters of the namespace
  COUNTER_INODES,
  COUNTER_CHUNKS,
  COUNTER_GARBAGE,
  COUNTER_ORPHANS,
  COUNTER_TRASH,
  COUNTER_TRASH_BYTES,
  COUNTER_QUOTAS,
  COUNTER_TO_COUNT,
  NUMBER_NOT_GIVEN_OUT,  // an inode or chunk at or above the next one that will be, or that a start has
                         // skipped
  // -- stores
  CHUNK_MISSING,    // no current replica is known
  CHUNK_UNDER,      // `found` good replicas, `right` wanted
  REPLICA_CORRUPT,  // at `server`
  REPLICAS_DIFFER,
  CHUNK_UNKNOWN,  // at `server`, and no file has it
  CHUNK_KEPT,     // the same, since a restore
  CHUNK_AHEAD,    // at `server`, with a version that was never given out
  DATA_FILE,      // at `server`: `name` says what is wrong with its files
  STRAY_FILE,     // at `server`: a file `name` that the index does not know
  STORE_SILENT,   // `server` could not be asked
  // -- names, again
  STAGING_GONE,  // there is something to be done for a copy of a tree, `inode`, which is not there
};

enum class Severity { NOTE, WARNING, ERROR };  // ERROR: names or data are wrong or at risk

enum class Remedy {
  NONE,       // a person has to decide
  MEND,       // recounted, in the operation log (ops/mend.cc)
  REPLICATE,  // repair copies, settles or quarantines
  RELEASE,    // kept chunks go, when an operator says so
  WAIT,       // goes by itself
};

struct Finding {
  Trouble trouble{};
  InodeId inode;
  InodeId directory;
  std::string name;
  ChunkHandle chunk;
  ServerId server;
  uint64_t found = 0, right = 0;

  std::vector<std::string> paths;  // filled in when it is told
  bool operator==(const Finding&) const = default;
};

kj::StringPtr KJ_STRINGIFY(Trouble trouble);  // for programs: "links", "chunk-missing", ...
Severity severityOf(Trouble trouble);
Remedy remedyOf(const Finding& finding);
std::string describe(const Finding& finding);  // one sentence, without the paths
std::string advise(const Finding& finding);    // what is done about it, or what to do

}  // namespace cairn
