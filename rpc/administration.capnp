# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
@0xc0a1f5d0c0330004;
# What an operator may ask of a cluster besides looking at it, and how repair tells of itself.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::rpc");
using import "common.capnp".Status;

struct RepairStatus {
  # Chunks with fewer good replicas than wanted, and what is done about it. A chunk counts once, under the worst that holds.
  lastCopy @0 :UInt64;      # one good replica left of more that are wanted
  blocking @1 :UInt64;      # fewer than the minimum: nobody may write it
  under @2 :UInt64;         # fewer than wanted
  waiting @3 :UInt64;       # of all these: fewer only because a daemon is away that may be back in a moment
  stuck @4 :UInt64;         # of all these: no source, or no store that could take a copy
  moving @5 :UInt64;        # enough, but on a store that is drained, or moved by rebalance
  excess @6 :UInt64;        # more than wanted
  copying @7 :UInt32;       # copies under way
  bytesPerSecond @8 :UInt64;  # of the last ten seconds
  bytesLeft @9 :UInt64;     # to be copied, estimated
  etaS @10 :UInt64;         # seconds at that rate; 0: nothing to do, or no rate yet
  copied @11 :UInt64;       # chunks copied since the metaserver started
  copiedBytes @12 :UInt64;
  failed @13 :UInt64;       # attempts that failed since then
  surveyed @14 :Bool;       # all chunks have been looked at since a store last came or went
  stuckBecause @15 :Text;   # an example, for people; empty: none is stuck
}

struct SnapshotStatus {
  # The snapshot of a large tree that is being made; there is one at a time.
  enum Phase {
    none @0;
    writers @1;             # mounts send what they have and give their leases back; changes go on
    copying @2;             # changes wait
    stores @3;              # changes wait, and the copying too: for stores to settle chunks
  }
  phase @0 :Phase;
  inodes @1 :UInt64;        # copied until now
  heldMs @2 :UInt64;        # how long changes have been waiting
  held @3 :UInt32;          # of changes, how many wait now
}

interface Administration {
  # Reached through Metaserver.administration.

  drain @0 (server :UInt32, undo :Bool) -> (status :Status);
  # The store gets no new chunks, and those it has are copied to others, until no chunk counts on it: then
  # ServerStatus.leaving is 0, and it may be taken away. Durable before it is answered; idempotent. `undo`: it is one like any other
  # again. notFound: no such store.

  remove @1 (server :UInt32, force :Bool) -> (status :Status, chunks :UInt64);
  # The store will not come back: it is forgotten, and its id is not given again. Refuses: notFound; busy (it is connected: stop it
  # first); notEmpty (`chunks` count on it that have no other good replica, or it is not known whether there are any). `force`: all the same.

  rebalance @2 (start :Bool) -> (status :Status, running :Bool, moves :UInt64, spread :UInt32);
  # `start`: chunks are moved from fuller stores to emptier ones until they are nearly equally full; it ends by itself.
  # Answers whether it is under way, how many chunks it has moved since it was started, and how far the fullest and the emptiest store are
  # apart, in hundredths of a percent of their size.

  setReplicas @3 (path :Text, replicas :UInt8, recursive :Bool, inode :UInt64) -> (status :Status, files :UInt64, chunks :UInt64);
  # `inode`, or what `path` leads to when that is 0. A file shall have so many copies (1 to 16); a directory: what is made in it from now on; `recursive`: all below it
  # as well. In the log when it answers; repair does the rest. Refuses: notFound, notDirectory, invalid.

  trash @4 (until :Int64, inode :UInt64, limit :UInt32) -> (status :Status, files :List(TrashedFile), more :Bool);
  # What is in the trash, in the order in which it goes, behind that place (0, 0: from the start), at most `limit` (and 1,000).

  restore @5 (file :TrashId, directory :UInt64, name :Text) -> (status :Status);
  # The file gets that name in that directory (0 and empty: those it had). In the log when it answers. Refuses: notFound (it is not in
  # the trash), stale (the directory is gone), exists, notDirectory, nameTooLong, invalid, overQuota.

  purgeTrash @6 (files :List(TrashId)) -> (status :Status, purged :UInt64);
  # These go for good, before their time. One that is not in the trash is passed over. In the log when it answers.

  keepTrash @7 (directory :UInt64, seconds :UInt32, recursive :Bool) -> (status :Status, directories :UInt64);
  # What is deleted in the directory from now on stays in the trash for so long (0: it does not go there; 0xffffffff: as the
  # cluster says); likewise in directories that are made in it from now on, and, `recursive`, in those that are below it now. In the
  # log when it answers. Refuses: stale, notFound, notDirectory.

  trashOf @8 (directory :UInt64) -> (status :Status, seconds :UInt32, cluster :UInt32);
  # What keepTrash has set, and what the cluster says.

  setQuota @9 (directory :UInt64, bytes :UInt64, inodes :UInt64) -> (status :Status, counting :Bool);
  # All that is below the directory may take so much (0: no limit; both 0: it has no quota any more). Counted from now on if it is the
  # first in the cluster: `counting` as long as the count goes on; until then nobody is refused. Durable before it is answered. Refuses:
  # stale, notFound, notDirectory.

  quotas @10 (directory :UInt64, after :UInt64, limit :UInt32)
      -> (status :Status, quotas :List(Quota), more :Bool, counting :Bool, counted :UInt64);
  # That of `directory`, or (0) those of directories above `after` by number, at most `limit` (and 1,000). `counted`: inodes so far.
  # Refuses: noData (it has none).

  snapshot @11 (original :UInt64, directory :UInt64, name :Text, steps :Bool)
      -> (status :Status, inodes :UInt64, inode :UInt64, copy :TreeCopy, underWay :Bool);
  # The tree below the directory `original` a second time, as `name` in `directory`: one point in the order of all changes, in the
  # log when it is answered. All writes that had returned at that point are in it: mounts are made to send what they have. Files share
  # their chunks. It is a tree like any other. Answers how many inodes it has, and that of its top. One that is too large for one
  # operation (more than 20,000 inodes or 100,000 chunks) is begun, if the caller says that it follows the `steps`: `copy`. Refuses:
  # notFound, stale, notDirectory, exists, nameTooLong, invalid, loop (`directory` lies in the tree), tooBig (it would take steps),
  # notReady (the metaserver has been up for less than a minute: it does not know yet who may be writing), busy (a chunk cannot be
  # made to stand still: a daemon does not answer; or a mount does not send what it has; `underWay`: another snapshot is being made,
  # ask again), overQuota.

  image @12 () -> (status :Status, image :Image);
  # A copy of the namespace store as of some operation from now on, for a backup (rpc/backup_directory.h). Every block of it has
  # been compared with its checksum. It stands on the metaserver's disk until the capability is dropped, or the connection ends. Refuses: busy
  # (there is one already). Fails with a sentence when the store is damaged.

  checkpoint @13 () -> (status :Status, operation :UInt64, segments :UInt32);
  # Everything until now is in the namespace store on stable storage, up to `operation`, and the log before it is gone but for `segments`
  # files: the next start replays what comes after it. Refuses: ioError.

  releaseKept @14 () -> (status :Status, kept :UInt64);
  # After a restore: chunks that no file has, which may be those of files made after the backup, are garbage from now on. On
  # stable storage when it answers. Answers how many replicas that are. Refuses: notReady (not all stores have told yet).

  check @15 (data :Bool, repair :Bool) -> (status :Status, check :Check);
  # Begins a check of the whole system: the namespace as of now with itself; its chunks with what the stores hold; each store's
  # index with its files. `data`: stores also read all bytes, and replicas are compared. `repair`: what can be put right without a choice
  # is. Without it nothing is changed. Refuses: busy (there is one already), notReady (safe mode: stores have not told yet).
}

interface TreeCopy {
  # A snapshot in steps. Until it is done everything that changes something waits, in the whole cluster; it can be read. Ends with
  # its capability: if it was not done by then, nothing is there, and what had been copied goes.

  next @0 () -> (done :Bool, status :Status, inodes :UInt64, inode :UInt64);
  # Answers when it is done, and after a second at the latest: how many inodes have been copied. `done`: with `status` as `snapshot`
  # refuses, nothing is there; else it is, and `inode` is its top.
}

interface Check {
  # Ends with its capability.

  next @0 () -> (findings :List(Finding), end :Bool, stage :Text, rows :UInt64);
  # Goes on for a while, and answers what has been found: on a busy cluster, what was so at two looks. `end`: that was all. `stage`: what
  # is being looked at, for people; `rows`: how much of it has been. Fails when the namespace store is damaged.
}

struct Finding {
  trouble @0 :Text;         # for programs, such as "links" or "chunk-missing"
  severity @1 :UInt8;       # 0 note, 1 warning, 2 error
  paths @2 :List(Text);     # names of the file that it is about, from the root, at most 100
  inode @3 :UInt64;
  chunk @4 :UInt64;
  server @5 :UInt32;
  sentence @6 :Text;
  advice @7 :Text;          # what is done about it, or what to do
  repair @8 :Repaired;
}

enum Repaired {
  no @0;
  yes @1;                   # in the log
  begun @2;                 # repair, or the store, goes on with it
}

interface Image {
  describe @0 () -> (cluster :Text, operation :UInt64, epoch :UInt64, inodes :UInt64, chunks :UInt64, taken :Int64,
                     files :List(ImageFile));
  # `taken`: ns since 1970.

  read @1 (file :UInt32, offset :UInt64, size :UInt32) -> (status :Status, data :Data, checksum :UInt32);
  # `file`: its place in the list. At most 1 MiB; fewer bytes where the file ends. `checksum`: CRC32C of `data`. Refuses: invalid.
}

struct ImageFile {
  name @0 :Text;
  size @1 :UInt64;
}

struct Quota {
  directory @0 :UInt64;
  path @1 :Text;
  bytesLimit @2 :UInt64;    # 0: none
  inodesLimit @3 :UInt64;
  bytes @4 :UInt64;         # of one copy, with what is in the trash
  inodes @5 :UInt64;        # below the directory, without itself
  trashBytes @6 :UInt64;    # of these, in the trash: given back before anybody is refused
  trashInodes @7 :UInt64;
}

struct TrashId {
  until @0 :Int64;          # when it goes, ns since 1970
  inode @1 :UInt64;
}

struct TrashedFile {
  id @0 :TrashId;
  path @1 :Text;            # where it was, from the root; its directories as they are called now, or were when they went
  deleted @2 :Int64;        # ns since 1970
  uid @3 :UInt32;           # who deleted it
  owner @4 :UInt32;
  size @5 :UInt64;
  bytesUsed @6 :UInt64;
  directory @7 :UInt64;     # it was in
  directoryGone @8 :Bool;
}
