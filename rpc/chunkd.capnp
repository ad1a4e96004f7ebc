# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
@0xc0a1f5d0c0330002;
# What a chunk daemon promises. It keeps replicas of chunks in one directory (a store) and serves them.
# Reaching it grants nothing: every call names the chunk version under which the metaserver granted a lease,
# and other versions are refused. "Applied" means in the page cache of the replica's machine: it survives
# the death of the process, not of the machine; `sync` is the barrier for that.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::rpc");
using import "common.capnp".Status;
using import "common.capnp".Address;

struct ChunkId {
  handle @0 :UInt64;
  version @1 :UInt64;
}

struct Extent {
  # A run of bytes of a chunk.
  offset @0 :UInt32;        # from its start
  size @1 :UInt32;
}

struct Applied {
  # One replica's word that it has applied a write.
  server @0 :UInt32;
  boot @1 :UInt64;
  # Identity of the boot of the replica's machine. A later sync names it: a machine that has rebooted since
  # may have lost the write, and then refuses the sync.
}

struct Replica {
  server @0 :UInt32;
  address @1 :Address;
}

interface ChunkServer {
  # The service behind Gate.hello on a chunk daemon's port. Called by clients and by other chunk daemons.

  write @0 (chunk :ChunkId, extents :List(Extent), data :Data, checksums :List(UInt32))
      -> (status :Status, applied :List(Applied), failed :List(UInt32), blocks :UInt32);
  # To the primary only. Applies `data`, which holds the bytes of `extents` one after the other, on every replica of
  # the lease, in the primary's order, and answers when all have applied it. At most WRITE_EXTENTS_MAX extents with
  # TRANSFER_SIZE_MAX bytes altogether; where they overlap, the later ones count.
  # `checksums`: those of the first extent, then those of the second, and so on; an extent's are the CRC32C of each piece
  # of it cut at multiples of BLOCK_SIZE of the chunk (its first and its last piece may be short; a short piece is summed
  # as it is, not padded).
  # `blocks`: how many blocks of the chunk hold anything but zeros now.
  # Repeating it with the same arguments is harmless. Refuses, having changed nothing: notPrimary,
  # leaseExpired, staleVersion, badChecksum, invalid (beyond the chunk, or too much). noSpace: some of the extents may
  # have been applied.
  # replicaFailed: those in `failed` did not apply; the primary has reported them to the metaserver, and the
  # caller must locate again and repeat the write under the new version.

  apply @1 (chunk :ChunkId, serial :UInt64, extents :List(Extent), data :Data, checksums :List(UInt32),
            rest :List(Replica)) -> (status :Status, applied :List(Applied), failed :List(UInt32));
  # From the hop before, never from a client. The write with place `serial` in the primary's order (rising by
  # one for each write under a version, from 1). The receiver verifies the checksums, forwards to `rest`
  # (nearest first) while it applies the write itself, and answers for itself and all behind it.
  # Calls on one connection arrive in order; a serial out of order is refused as `invalid`.
  # Refuses: staleVersion, behindVersion, noReplica, badChecksum, noSpace, ioError.

  read @2 (chunk :ChunkId, offset :UInt32, size :UInt32)
      -> (status :Status, data :Data, checksums :List(UInt32));
  # From any replica of exactly this version. `offset` and `size` are multiples of BLOCK_SIZE, `size` at most
  # TRANSFER_SIZE_MAX. Returns the stored bytes and one checksum per block they touch, as the writer made them:
  # the reader verifies (a last block cut short by the end of the chunk is summed as if padded with zeros).
  # Fewer bytes than asked: the chunk ends there, and bytes beyond are zeros.
  # Refuses: behindVersion, staleVersion, noReplica, corrupt (quarantined; use another replica), rebooted (use
  # another replica), ioError.

  sync @3 (chunks :List(ChunkId), boot :UInt64) -> (status :Status, failed :List(UInt64));
  # Barrier: what was applied to these chunks on this replica before the call is on stable storage when it
  # answers ok. `boot`: the one that `Applied` named, 0 for any: that of a replica that was made equal to the others
  # under this version. Refuses: rebooted (another boot; or suspect, see ChunkReport), staleVersion,
  # behindVersion, noReplica, ioError (handles in `failed`). A retry after ioError is refused as well: what the
  # disk has dropped does not come back (the replica is quarantined).

  append @4 (chunk :ChunkId, data :Data, checksum :UInt32)
      -> (status :Status, offset :UInt32, applied :List(Applied), failed :List(UInt32), blocks :UInt32);
  # recordAppend (GFS paper, section 3.3), to the primary only: it picks the offset (the end of the chunk), and all
  # replicas apply the record there. At most RECORD_SIZE_MAX bytes, one CRC32C over all. At least once: a
  # retry after replicaFailed may leave the record, or parts of it, a second time. chunkFull: it does not fit;
  # the primary has extended every replica to CHUNK_SIZE (zeros), and the caller goes on in the next chunk.

  # Orders of the metaserver. They arrive through the capability that the chunk daemon gave when it
  # registered, not on this daemon's port. Each carries the metaserver's epoch; an older one than the store
  # has seen is refused with staleEpoch, a newer one is remembered on disk first.

  adopt @5 (epoch :UInt64, chunks :List(Adoption)) -> (results :List(Adopted));
  # Raise replicas to a new version, creating those that are to be created, and end any lease held on them. When it
  # answers, writes under older versions are refused, those in flight are applied or refused, and the new
  # version survives the death of the process. Idempotent.

  lease @6 (epoch :UInt64, leases :List(LeaseGrant)) -> (status :Status);
  # Makes this replica the primary of each chunk for `duration` from the arrival of the message. Replaces a lease
  # on the same chunk; refused as staleVersion when the replica does not hold that version.

  revoke @7 (epoch :UInt64, chunks :List(ChunkId)) -> (status :Status);
  # Ends leases. When it answers, every write the primary had accepted has been applied or refused on all
  # replicas, and no further one is accepted.

  delete @8 (epoch :UInt64, chunks :List(ChunkId)) -> (status :Status);
  # Drops replicas whose version is not above the named one. Unknown chunks are ignored.

  describe @9 (chunks :List(UInt64)) -> (chunks :List(ChunkReport));
  # What this store knows of the chunks, from its index; absent ones are left out. For info and repair.

  checksums @10 (chunk :ChunkId) -> (status :Status, length :UInt32, checksums :Data);
  # The chunk's checksum table: 4 bytes little-endian a block. For comparing replicas.

  copy @11 (epoch :UInt64, chunk :ChunkId, sources :List(Replica), replace :UInt64, limit :UInt64, commit :Bool)
      -> (status :Status, copied :UInt64, left :UInt64, length :UInt32, bad :List(UInt32));
  # An order of the metaserver: make this store's copy of the chunk like that of the first of `sources` that holds exactly
  # this version, by comparing checksum tables and reading the blocks that differ, at most `limit` bytes of them. Each
  # block is verified before it is written. The copy is not a replica, and survives no restart of the daemon, until a
  # call with `commit` has found that nothing differs and has put it on stable storage; from then on it is a replica of that
  # version. Committing is right only under a version whose bytes cannot change any more: one that no lease was granted
  # under. Without `commit` the version may be one that is being written: what has changed meanwhile differs next time.
  # `replace`: a replica that this store holds may be used up for it if its version is not above this one.
  # Answers how many bytes were `copied`, and how many still differ (`left`). `bad`: sources whose bytes do not match their
  # checksums. Refuses: exists (holds a replica that may not be replaced), staleVersion (holds a newer one, or
  # the sources do), noReplica (no source has it), corrupt (those that have it are bad), replicaFailed (no source answers), noSpace, ioError,
  # busy (another such call runs). A copy that no call has touched for two minutes is dropped.

  verify @12 (chunk :ChunkId) -> (status :Status);
  # Reads the whole replica and compares it with its checksums, as the scrub does: ok, or corrupt (it is quarantined now).
  # Changes nothing else. Refuses: behindVersion, staleVersion, noReplica, ioError.

  clone @13 (epoch :UInt64, chunk :ChunkId, clone :UInt64, bytes :UInt32) -> (status :Status, length :UInt32);
  # An order of the metaserver: the first `bytes` of this replica become a new one of chunk `clone`, version 1, on the same
  # disk, which shares the blocks where it can and copies them (verified) where not. It is on stable storage when this
  # answers ok. The metaserver names a chunk that nobody writes; a lease on it ends. A call that does not end leaves nothing:
  # a replica that is there is complete. Repeating it is harmless. Refuses: noReplica, staleVersion, behindVersion, corrupt
  # (the replica is: quarantined), exists, busy, noSpace, ioError.

  reconcile @14 (epoch :UInt64, chunk :ChunkId, sources :List(Replica))
      -> (status :Status, copied :UInt64, length :UInt32, bad :List(UInt32));
  # An order of the metaserver: make this replica, which holds exactly this version, equal to the first of `sources` that
  # does, in place: checksum tables are compared, and the blocks that differ are copied. Without sources it is the one
  # that the others are made equal to. Then all of it is put on stable storage, and it is no suspect any more.
  # Right only under a version that no lease was granted under. It may end at any point and be repeated: what was
  # acknowledged is in both contents, and a suspect stays one until the end.
  # Answers how many bytes were `copied`. `bad`: sources whose bytes do not match their checksums. Refuses: behindVersion,
  # staleVersion, noReplica, corrupt, replicaFailed (no source answers), noSpace, ioError.

  checkFiles @15 (after :UInt64, limit :UInt32) -> (problems :List(FileProblem), next :UInt64, checked :UInt32, end :Bool);
  # Compares the index with the files of the chunks with handles above `after`, at most `limit` (and 1,000) of them: that both files of
  # each are there, are those of this chunk, and are as long as the index says. At the end also which files belong to no
  # chunk. Go on after `next`. A chunk that changes meanwhile may be told of wrongly: what counts is what is told twice. Changes nothing.
}

struct FileProblem {
  handle @0 :UInt64;        # 0: a file that the index does not know
  version @1 :UInt64;
  problem @2 :Text;         # a sentence; of an unknown file its path in the store
}

struct Adoption {
  handle @0 :UInt64;
  from @1 :UInt64;          # the version held now; 0: create an empty replica
  version @2 :UInt64;       # the version to hold from now on
  truncate @3 :UInt32 = 0xffffffff;  # cut the chunk to this many bytes first (zeros beyond); the default: leave it
}

struct Adopted {
  handle @0 :UInt64;
  status @1 :Status;        # ok; noReplica, staleVersion (holds a newer one), behindVersion (holds one before
                            # `from`), noSpace, ioError, corrupt
  length @2 :UInt32;        # bytes in the replica after it
  suspect @3 :Bool;         # as in ChunkReport
  written @4 :UInt64;       # the version under which it applied its last write; 0: not known
  serial @5 :UInt64;        # that write's place in its primary's order. Replicas that began a version equal and have
                            # applied the same writes of it are equal.
}

struct LeaseGrant {
  chunk @0 :ChunkId;
  durationMs @1 :UInt32;
  secondaries @2 :List(Replica);  # in chain order; all have adopted the version
}

struct ChunkReport {
  handle @0 :UInt64;
  version @1 :UInt64;
  length @2 :UInt32;        # bytes
  unsynced @3 :Bool;        # has writes that are not known to be on stable storage
  suspect @4 :Bool;         # its machine went down while it was unsynced: reconcile before it serves
  corrupt @5 :Bool;         # quarantined
  written @6 :UInt64;       # as in Adopted
  serial @7 :UInt64;
}
