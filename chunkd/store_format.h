// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a chunk store writes to its directory, byte by byte. Called by the store, its recovery and `inspect`.
//
//   DIR/store.identity        who this store is; text, replaced atomically (rename)
//   DIR/store.lock            flock of the daemon that serves the store; holds its pid
//   DIR/index/                RocksDB: handle (8 bytes big-endian) -> IndexRecord
//   DIR/intents               INTENT_SLOTS slots of INTENT_SLOT_SIZE bytes, mapped by the daemon
//   DIR/chunks/ab/HANDLE.data the chunk's bytes from offset 0; holes read as zeros. HANDLE is 16 hexadecimal
//                             digits, ab the last two of them
//   DIR/chunks/ab/HANDLE.sum  SumHeader, padded to SUM_HEADER_SIZE, then one word per 4 KiB block:
//                             crc32c(block padded with zeros) xor crc32c(4096 zeros): a hole in the data is a
//                             hole here
//   DIR/quarantine/HANDLE-vVERSION.{data,sum}   what was found damaged
//
//   identity = "cairn-chunk-store " FORMAT LF *(KEY "=" VALUE LF) "crc=" 8HEX LF
//   FORMAT, the version in every header and record: 1. A higher one is refused.
//
// All numbers are little-endian unless said otherwise.
//
// A write goes: unsynced mark (index) -> intent -> sums -> data -> intent cleared. What a crash leaves:
//   the process dies at        found at the next start                  what is done
//   before the intent          the mark                                 nothing: no byte was changed
//   intent, sums, data         an armed intent; each block is old or    each block's word is set to match its
//                              new, its word is old or new              bytes; bytes that match neither are a
//                                                                       mix of the two: summed anew. The
//                                                                       write was not acknowledged
//   after the intent           consistent                               nothing
//   the machine dies with      the mark, any mix of old and new pages   every block is checked, words set to
//   the mark set                                                        match, the chunk is a suspect, which
//                                                                       serves nothing until it is reconciled
//   without the mark           consistent                               nothing
// An intent whose write has failed, and whose blocks could not be settled either, stays armed for the next
// start, but not longer than the chunk's files are there.
// Truncation: intent (TRUNCATE) -> data cut -> sums cut -> intent cleared; found armed, it is done again.
// Creation: index record with FRESH; the files come with the first write, then CREATED. FRESH ends with the
// first sync. CREATED and no file while the machine stayed up: somebody took it away, the replica is damaged.
// Deletion: record DELETING -> files -> record gone; found DELETING, it is carried on.
// A copy from another store: record STAGING (synced first, if it uses up the bytes of an older replica) ->
// bytes as of any write -> bytes, sums and names synced -> record without STAGING, synced. Found STAGING: the
// files go; the record goes, or says CORRUPT again if what it replaces is in quarantine.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/time.h>

#include <cstdint>

#include "rpc/units.h"

namespace cairn {

constexpr uint32_t STORE_FORMAT = 1;

constexpr kj::StringPtr IDENTITY_PATH = "store.identity"_kj;
constexpr kj::StringPtr LOCK_PATH = "store.lock"_kj;
constexpr kj::StringPtr INTENTS_PATH = "intents"_kj;
constexpr kj::StringPtr INDEX_PATH = "index"_kj;

struct StoreIdentity {
  kj::String uuid;    // 32 hexadecimal digits, made with the store
  ClusterId cluster;  // zero until the store has joined one; then for ever
  ServerId server;    // zero until the metaserver has given one
  Epoch epoch;        // the highest epoch of a metaserver obeyed
  kj::String boot;    // of the machine, when the store was last started

  StoreIdentity clone() const;
};

kj::String encodeIdentity(const StoreIdentity& identity);

struct IdentityOrReason {
  kj::Maybe<StoreIdentity> identity;
  kj::String reason;  // when null: half a sentence that goes on after "the identity file "
};
IdentityOrReason decodeIdentity(kj::StringPtr text);

// -- index

enum ChunkFlags : uint8_t {
  UNSYNCED = 1,   // has writes that are not known to be on stable storage
  SUSPECT = 2,    // its machine went down while it was unsynced: reconcile
  CORRUPT = 4,    // quarantined
  FRESH = 8,      // never synced: its files may be missing
  DELETING = 16,  // its files are going
  CREATED = 32,   // its files have been made; a FRESH chunk's may be missing only after the machine went down
  STAGING = 128,  // a copy that is being taken, and no replica (with CORRUPT: of one that is in quarantine)
};

using CheckTime = Strong<struct CheckTimeTag, uint16_t>;
// When bytes were compared with their checksums: in units of three hours since the start of 2026, from 1
// (until 2048); 0 is not known.
CheckTime checkTimeOf(kj::Date date);
uint64_t secondsBetween(CheckTime earlier, CheckTime later);

struct IndexRecord {
  ChunkVersion version;
  uint32_t length = 0;  // bytes; of an UNSYNCED chunk the data file's size counts
  uint8_t flags = 0;
  CheckTime checked;  // last scrubbed, or come to the store

  bool has(ChunkFlags flag) const { return (flags & flag) != 0; }
  void set(ChunkFlags flag) { flags = uint8_t(flags | flag); }
  void clear(ChunkFlags flag) { flags = uint8_t(flags & ~flag); }
};

constexpr size_t INDEX_KEY_SIZE = 8;
constexpr size_t INDEX_RECORD_SIZE = 16;  // format u8, flags u8, checked u16, length u32, version u64
void encodeIndexKey(ChunkHandle handle, kj::byte (&key)[INDEX_KEY_SIZE]);
kj::Maybe<ChunkHandle> decodeIndexKey(kj::ArrayPtr<const kj::byte> key);
void encodeIndexRecord(const IndexRecord& record, kj::byte (&bytes)[INDEX_RECORD_SIZE]);
kj::Maybe<IndexRecord> decodeIndexRecord(kj::ArrayPtr<const kj::byte> bytes);

// -- chunk files

kj::String dataPath(ChunkHandle handle);
kj::String sumPath(ChunkHandle handle);
kj::String chunkDirectory(ChunkHandle handle);
kj::String quarantinePath(ChunkHandle handle, ChunkVersion version, kj::StringPtr extension);

constexpr size_t SUM_HEADER_SIZE = 4096;  // so that the words of 1,024 blocks share one page
constexpr size_t SUM_HEADER_BYTES = 64;   // of it in use
struct SumHeader {
  ClusterId cluster;
  ChunkHandle handle;
  ChunkVersion version;  // the index has the last word; this is for rebuilding it
};
void encodeSumHeader(const SumHeader& header, kj::byte (&bytes)[SUM_HEADER_BYTES]);
// magic "CAIRNSUM", format u32, block size u32, cluster u64 u64, handle u64, version u64, zeros, crc32c u32
// of what is before it.

struct SumHeaderOrReason {
  kj::Maybe<SumHeader> header;
  kj::String reason;  // "is of format 2, ...", goes on after the file's name
};
SumHeaderOrReason decodeSumHeader(kj::ArrayPtr<const kj::byte> bytes);

constexpr uint64_t sumOffset(uint32_t block) {
  return SUM_HEADER_SIZE + uint64_t(block) * sizeof(uint32_t);
}

// -- intents

enum class IntentKind : uint32_t { NONE = 0, WRITE = 1, TRUNCATE = 2 };

constexpr uint32_t INTENT_BLOCKS_MAX = TRANSFER_SIZE_MAX / BLOCK_SIZE + 1;  // 257: an unaligned 1 MiB
constexpr size_t INTENT_SLOT_SIZE = 4096;
constexpr size_t INTENT_SLOTS = 128;

struct IntentSlot {
  // In memory as on disk. INVARIANT: `kind` is stored last when armed, and first when cleared.
  uint32_t kind;
  uint32_t crc;  // crc32c of all that follows up to and with the used words
  uint32_t format;
  uint32_t firstBlock;  // TRUNCATE: the block that is cut
  uint32_t count;       // of blocks
  uint32_t length;      // TRUNCATE: the new length, bytes
  uint64_t handle;
  uint64_t version;
  uint32_t words[2 * INTENT_BLOCKS_MAX];
  // The `count` words the blocks will have, then the `count` they had: their file may have the new ones
  // already while the bytes are still the old ones.
};
static_assert(sizeof(IntentSlot) <= INTENT_SLOT_SIZE);

uint32_t intentCrc(const IntentSlot& slot);

}  // namespace cairn
