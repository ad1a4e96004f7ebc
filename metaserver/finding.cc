// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See finding.h.
#include "metaserver/finding.h"

#include <kj/debug.h>

namespace cairn {

kj::StringPtr KJ_STRINGIFY(Trouble trouble) {
  switch (trouble) {
    case Trouble::NAME_LEADS_NOWHERE:
      return "name-leads-nowhere";
    case Trouble::NAME_OF_WRONG_TYPE:
      return "name-of-wrong-type";
    case Trouble::NAMES_OF_NO_DIRECTORY:
      return "names-of-no-directory";
    case Trouble::LINKS:
      return "links";
    case Trouble::DIRECTORY_SIZE:
      return "directory-size";
    case Trouble::PARENT:
      return "parent";
    case Trouble::SEVERAL_NAMES:
      return "several-names";
    case Trouble::UNREACHABLE:
      return "unreachable";
    case Trouble::CYCLE:
      return "cycle";
    case Trouble::FILE_CHUNKS:
      return "file-chunks";
    case Trouble::ZERO_BLOCKS:
      return "zero-blocks";
    case Trouble::CHUNKS_END:
      return "chunks-end";
    case Trouble::PLACE_WITHOUT_FILE:
      return "place-without-file";
    case Trouble::PLACE_WITHOUT_RECORD:
      return "place-without-record";
    case Trouble::SYMLINK_WITHOUT_TARGET:
      return "symlink-without-target";
    case Trouble::ATTRIBUTE_BYTES:
      return "attribute-bytes";
    case Trouble::ATTRIBUTE_NAMES:
      return "attribute-names";
    case Trouble::ROWS_OF_NO_INODE:
      return "rows-of-no-inode";
    case Trouble::REFERENCES:
      return "references";
    case Trouble::CHUNK_OF_NO_FILE:
      return "chunk-of-no-file";
    case Trouble::CHUNK_AND_GARBAGE:
      return "chunk-and-garbage";
    case Trouble::FLOOR_ABOVE_VERSION:
      return "floor-above-version";
    case Trouble::ORPHAN_GONE:
      return "orphan-gone";
    case Trouble::TRASH_GONE:
      return "trash-gone";
    case Trouble::TRASH_MARK:
      return "trash-mark";
    case Trouble::WHEREABOUTS:
      return "whereabouts";
    case Trouble::USAGE_INODES:
      return "usage-inodes";
    case Trouble::USAGE_BYTES:
      return "usage-bytes";
    case Trouble::USAGE_TRASH_INODES:
      return "usage-trash-inodes";
    case Trouble::USAGE_TRASH_BYTES:
      return "usage-trash-bytes";
    case Trouble::QUOTA_MARK:
      return "quota-mark";
    case Trouble::BACKLINKS:
      return "backlinks";
    case Trouble::ANSWERS_OF_NO_SESSION:
      return "answers-of-no-session";
    case Trouble::COUNTER_INODES:
      return "counter-inodes";
    case Trouble::COUNTER_CHUNKS:
      return "counter-chunks";
    case Trouble::COUNTER_GARBAGE:
      return "counter-garbage";
    case Trouble::COUNTER_ORPHANS:
      return "counter-orphans";
    case Trouble::COUNTER_TRASH:
      return "counter-trash";
    case Trouble::COUNTER_TRASH_BYTES:
      return "counter-trash-bytes";
    case Trouble::COUNTER_QUOTAS:
      return "counter-quotas";
    case Trouble::COUNTER_TO_COUNT:
      return "counter-to-count";
    case Trouble::NUMBER_NOT_GIVEN_OUT:
      return "number-not-given-out";
    case Trouble::CHUNK_MISSING:
      return "chunk-missing";
    case Trouble::CHUNK_UNDER:
      return "chunk-under";
    case Trouble::REPLICA_CORRUPT:
      return "replica-corrupt";
    case Trouble::REPLICAS_DIFFER:
      return "replicas-differ";
    case Trouble::CHUNK_UNKNOWN:
      return "chunk-unknown";
    case Trouble::CHUNK_KEPT:
      return "chunk-kept";
    case Trouble::CHUNK_AHEAD:
      return "chunk-ahead";
    case Trouble::DATA_FILE:
      return "data-file";
    case Trouble::STRAY_FILE:
      return "stray-file";
    case Trouble::STORE_SILENT:
      return "store-silent";
    case Trouble::STAGING_GONE:
      return "staging-gone";
  }
  KJ_UNREACHABLE;
}

Severity severityOf(Trouble trouble) {
  switch (trouble) {
    case Trouble::ANSWERS_OF_NO_SESSION:
    case Trouble::ROWS_OF_NO_INODE:
    case Trouble::STAGING_GONE:
    case Trouble::CHUNK_UNKNOWN:
    case Trouble::CHUNK_KEPT:
    case Trouble::STRAY_FILE:
      return Severity::NOTE;
    case Trouble::NAME_LEADS_NOWHERE:
    case Trouble::NAMES_OF_NO_DIRECTORY:
    case Trouble::UNREACHABLE:
    case Trouble::SEVERAL_NAMES:
    case Trouble::CYCLE:
    case Trouble::PLACE_WITHOUT_FILE:
    case Trouble::PLACE_WITHOUT_RECORD:
    case Trouble::SYMLINK_WITHOUT_TARGET:
    case Trouble::REFERENCES:
    case Trouble::CHUNK_OF_NO_FILE:
    case Trouble::CHUNK_AND_GARBAGE:
    case Trouble::FLOOR_ABOVE_VERSION:
    case Trouble::NUMBER_NOT_GIVEN_OUT:
    case Trouble::CHUNK_MISSING:
    case Trouble::REPLICAS_DIFFER:
    case Trouble::CHUNK_AHEAD:
      return Severity::ERROR;
    default:
      return Severity::WARNING;
  }
}

Remedy remedyOf(const Finding& finding) {
  switch (finding.trouble) {
    case Trouble::NAMES_OF_NO_DIRECTORY:
    case Trouble::SEVERAL_NAMES:
    case Trouble::CYCLE:
    case Trouble::PLACE_WITHOUT_RECORD:
    case Trouble::SYMLINK_WITHOUT_TARGET:
    case Trouble::ROWS_OF_NO_INODE:
    case Trouble::CHUNK_OF_NO_FILE:
    case Trouble::FLOOR_ABOVE_VERSION:
    case Trouble::ANSWERS_OF_NO_SESSION:
    case Trouble::CHUNK_MISSING:
    case Trouble::CHUNK_AHEAD:
    case Trouble::STRAY_FILE:
    case Trouble::STORE_SILENT:
    case Trouble::STAGING_GONE:
      return Remedy::NONE;
    case Trouble::CHUNK_UNDER:
    case Trouble::REPLICA_CORRUPT:
    case Trouble::REPLICAS_DIFFER:
    case Trouble::DATA_FILE:
      return Remedy::REPLICATE;
    case Trouble::CHUNK_KEPT:
      return Remedy::RELEASE;
    case Trouble::CHUNK_UNKNOWN:
      return Remedy::WAIT;
    default:
      return Remedy::MEND;
  }
}

namespace {

std::string text(kj::String string) {
  return {string.begin(), string.size()};
}

kj::StringPtr subject(Trouble trouble) {
  switch (trouble) {
    case Trouble::LINKS:
      return "links";
    case Trouble::DIRECTORY_SIZE:
      return "entries of the directory";
    case Trouble::FILE_CHUNKS:
      return "chunks of the file";
    case Trouble::ZERO_BLOCKS:
      return "blocks of zeros in the file's chunks";
    case Trouble::ATTRIBUTE_BYTES:
      return "bytes of extended attributes";
    case Trouble::ATTRIBUTE_NAMES:
      return "bytes of the names of extended attributes";
    case Trouble::USAGE_INODES:
      return "inodes below the directory";
    case Trouble::USAGE_BYTES:
      return "bytes below the directory";
    case Trouble::USAGE_TRASH_INODES:
      return "inodes of the directory in the trash";
    case Trouble::USAGE_TRASH_BYTES:
      return "bytes of the directory in the trash";
    case Trouble::COUNTER_INODES:
      return "inodes of the cluster";
    case Trouble::COUNTER_CHUNKS:
      return "chunks of the cluster";
    case Trouble::COUNTER_GARBAGE:
      return "chunks that wait to be deleted";
    case Trouble::COUNTER_ORPHANS:
      return "files without a name";
    case Trouble::COUNTER_TRASH:
      return "files in the trash";
    case Trouble::COUNTER_TRASH_BYTES:
      return "bytes in the trash";
    case Trouble::COUNTER_QUOTAS:
      return "quotas";
    case Trouble::COUNTER_TO_COUNT:
      return "directories to be counted";
    default:
      return "";
  }
}

std::string describeName(const Finding& it) {
  switch (it.trouble) {
    case Trouble::NAME_LEADS_NOWHERE:
      return text(kj::str("the name leads to inode ", it.inode, ", which is not there"));
    case Trouble::NAME_OF_WRONG_TYPE:
      return text(
          kj::str("the name says type ", it.found, " of inode ", it.inode, ", which is of type ", it.right));
    case Trouble::NAMES_OF_NO_DIRECTORY:
      return text(kj::str("there are names in inode ", it.inode, ", which is no directory"));
    case Trouble::PARENT:
      return text(kj::str("directory ", it.inode, " takes inode ", it.found, " for its parent, and is in ",
                          it.right));
    case Trouble::SEVERAL_NAMES:
      return text(kj::str("directory ", it.inode, " has ", it.found, " names"));
    case Trouble::UNREACHABLE:
      return text(kj::str("no name leads to inode ", it.inode));
    case Trouble::CYCLE:
      return text(kj::str("directory ", it.inode, " is below itself, and not below the root"));
    case Trouble::BACKLINKS:
      return text(kj::str("of the names of inode ", it.inode, " in directory ", it.directory, " ", it.found,
                          " are recorded, there are ", it.right));
    case Trouble::ORPHAN_GONE:
      return text(kj::str("inode ", it.inode,
                          " is on the list of open files without a name, and has one or is gone"));
    case Trouble::TRASH_GONE:
      return text(kj::str("inode ", it.inode, " is on the list of the trash, and is not there"));
    case Trouble::TRASH_MARK:
      return text(kj::str("inode ", it.inode,
                          it.found ? " says that it is in the trash, which it is not"
                                   : " is in the trash, and does not say so"));
    case Trouble::WHEREABOUTS:
      return text(kj::str("directory ", it.inode, " is remembered for ", it.found,
                          " deleted files, there are ", it.right));
    case Trouble::QUOTA_MARK:
      return text(kj::str(
          "directory ", it.inode,
          it.found ? " says that it has a quota, which it has not" : " has a quota, and does not say so"));
    case Trouble::STAGING_GONE:
      return text(
          kj::str("something is noted for a copy of a tree, inode ", it.inode, ", which is not there"));
    case Trouble::ANSWERS_OF_NO_SESSION:
      return text(kj::str("answers to session ", it.found, " are kept, which is over"));
    default:
      return "";
  }
}

std::string describeChunk(const Finding& it) {
  switch (it.trouble) {
    case Trouble::CHUNKS_END:
      return text(kj::str("inode ", it.inode, " has a chunk beyond place ", it.found,
                          ", where it says that they end"));
    case Trouble::PLACE_WITHOUT_FILE:
      return text(kj::str("chunk ", it.chunk, " is at place ", it.found, " of inode ", it.inode,
                          ", which is not there"));
    case Trouble::PLACE_WITHOUT_RECORD:
      return text(kj::str("inode ", it.inode, " has chunk ", it.chunk, " at place ", it.found,
                          ", of which there is no record"));
    case Trouble::SYMLINK_WITHOUT_TARGET:
      return text(kj::str("symlink ", it.inode, " has no target"));
    case Trouble::ROWS_OF_NO_INODE:
      return text(
          kj::str(it.found, " attributes or targets are of inode ", it.inode, ", which is not there"));
    case Trouble::REFERENCES:
      return text(
          kj::str("chunk ", it.chunk, " counts ", it.found, " places of files, there are ", it.right));
    case Trouble::CHUNK_OF_NO_FILE:
      return text(kj::str("chunk ", it.chunk, " is in no file"));
    case Trouble::CHUNK_AND_GARBAGE:
      return text(kj::str("chunk ", it.chunk, " is in use, and on the list of what may be deleted"));
    case Trouble::FLOOR_ABOVE_VERSION:
      return text(kj::str("chunk ", it.chunk, " has version ", it.right, ", and wants at least ", it.found));
    case Trouble::NUMBER_NOT_GIVEN_OUT:
      return text(kj::str(it.inode ? "inode " : "chunk ", it.found, " is there, the next new one would be ",
                          it.right));
    default:
      return "";
  }
}

std::string describeReplica(const Finding& it) {
  switch (it.trouble) {
    case Trouble::CHUNK_MISSING:
      return text(kj::str("no good replica of chunk ", it.chunk, " is known"));
    case Trouble::CHUNK_UNDER:
      return text(kj::str("chunk ", it.chunk, " has ", it.found, " good replicas of ", it.right));
    case Trouble::REPLICA_CORRUPT:
      return text(kj::str("the replica of chunk ", it.chunk, " on store ", it.server, " is damaged"));
    case Trouble::REPLICAS_DIFFER:
      return text(kj::str("the replicas of chunk ", it.chunk, " are not equal: that on store ", it.server,
                          " differs from the first"));
    case Trouble::CHUNK_UNKNOWN:
      return text(kj::str("store ", it.server, " holds chunk ", it.chunk, ", which is in no file"));
    case Trouble::CHUNK_KEPT:
      return text(kj::str("store ", it.server, " holds chunk ", it.chunk,
                          " of before the restore, which is in no file"));
    case Trouble::CHUNK_AHEAD:
      return text(kj::str("store ", it.server, " holds chunk ", it.chunk, " with version ", it.found,
                          ", which this metaserver never gave out"));
    case Trouble::DATA_FILE:
      return text(kj::str("store ", it.server, ", chunk ", it.chunk, ": ", it.name.c_str()));
    case Trouble::STRAY_FILE:
      return text(
          kj::str("store ", it.server, " has a file ", it.name.c_str(), " that its index does not know"));
    case Trouble::STORE_SILENT:
      return text(kj::str("store ", it.server, " does not answer: ", it.name.c_str()));
    default:
      return "";
  }
}

}  // namespace

std::string describe(const Finding& it) {
  auto counted = subject(it.trouble);
  if (counted.size() > 0) {
    auto of = it.inode ? kj::str(" of inode ", it.inode) : kj::str();
    return text(kj::str(counted, of, ": ", it.found, " on record, there are ", it.right));
  }
  for (auto* describer : {describeName, describeChunk, describeReplica}) {
    auto sentence = describer(it);
    if (!sentence.empty()) return sentence;
  }
  return text(kj::str(it.trouble));
}

std::string advise(const Finding& it) {
  switch (it.trouble) {
    case Trouble::NAME_LEADS_NOWHERE:
      return "--repair drops the name: there is nothing behind it";
    case Trouble::UNREACHABLE:
      return "--repair names it lost+found." + text(kj::str(it.inode)) + " in the root directory";
    case Trouble::CHUNK_MISSING:
      return "bring back the stores that are away; what is on none of them is lost. Remove the file, or "
             "restore it from "
             "a copy of yours";
    case Trouble::PLACE_WITHOUT_RECORD:
      return "the file cannot be read there: restore the namespace from a backup, or remove the file's end "
             "with truncate";
    case Trouble::CHUNK_OF_NO_FILE:
      return "it may be all that is left of a file: it is kept. A backup of the metaserver may know whose it "
             "was";
    case Trouble::CHUNK_UNKNOWN:
      return "it goes by itself, as garbage";
    case Trouble::CHUNK_KEPT:
      return "perhaps of a file made after the backup: kept until `cairn fsck --repair --drop-kept`";
    case Trouble::CHUNK_AHEAD:
      return "the store is another cluster's, or this metaserver runs on an old copy: nothing is deleted "
             "meanwhile";
    case Trouble::DATA_FILE:
      return "--repair has the store read it, and replaces what is damaged from another replica; what its "
             "daemon can still read, from a file that it has open, is replaced once the daemon is restarted";
    case Trouble::STRAY_FILE:
      return "nothing reads it; look at it with `cairn-chunkd inspect`, and remove it while the daemon is "
             "stopped";
    case Trouble::STORE_SILENT:
      return "look at that daemon, and check again";
    case Trouble::NAMES_OF_NO_DIRECTORY:
    case Trouble::SEVERAL_NAMES:
    case Trouble::CYCLE:
    case Trouble::FLOOR_ABOVE_VERSION:
      return "this should not be possible: keep the log of the metaserver, and restore the namespace from a "
             "backup";
    case Trouble::SYMLINK_WITHOUT_TARGET:
      return "remove it and make it anew";
    case Trouble::ROWS_OF_NO_INODE:
    case Trouble::STAGING_GONE:
    case Trouble::ANSWERS_OF_NO_SESSION:
      return "harmless: some bytes in the namespace store";
    default:
      break;
  }
  switch (remedyOf(it)) {
    case Remedy::MEND:
      return "--repair sets it right";
    case Remedy::REPLICATE:
      return "repair makes it good from another replica; --repair has it look at once";
    default:
      return "";
  }
}

}  // namespace cairn
