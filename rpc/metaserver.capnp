# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
@0xc0a1f5d0c0330003;
# What the metaserver promises. It owns the namespace, the table file -> chunk handles, and the table handle ->
# servers, version, primary, lease. Reads are answered from memory; every change is an operation that is in
# the log on disk before it is answered. How long an answered change may still be lost to a power cut: commit mode
# `disk`: never; `memory`: until `sync` has returned. No answered change is lost to the death of a process.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::rpc");
using import "common.capnp".Status;
using import "common.capnp".Address;
using import "chunkd.capnp".ChunkId;
using import "chunkd.capnp".Replica;
using import "chunkd.capnp".ChunkReport;
using import "chunkd.capnp".ChunkServer;
using import "administration.capnp".Administration;
using import "administration.capnp".RepairStatus;
using import "administration.capnp".SnapshotStatus;

enum FileType {
  regular @0;
  directory @1;
  symlink @2;
  fifo @3;
  socket @4;
  characterDevice @5;
  blockDevice @6;
}

struct Attributes {
  # What stat(2) shows. Also the head of the inode record in the namespace store.
  inode @0 :UInt64;
  type @1 :FileType;
  mode @2 :UInt16;          # permission bits, 07777
  uid @3 :UInt32;
  gid @4 :UInt32;
  links @5 :UInt32;
  size @6 :UInt64;          # bytes
  bytesUsed @7 :UInt64;     # bytes in chunks, before replication: what st_blocks tells
  atime @8 :Int64;          # nanoseconds since 1970
  mtime @9 :Int64;
  ctime @10 :Int64;
  device @11 :UInt32;       # of device nodes: major and minor as in makedev(3)
  replicas @12 :UInt8;      # how many copies the file wants
  dataVersion @13 :UInt64;
  # Rises with each published change of content: a cached page of another is old. None is ever told for two contents of a file,
  # also when a loss of power takes changes back that it was told for: then it is a lower one again, and goes on above.
  extended @14 :UInt8;      # bits of ExtendedBits: which extended attributes it has, so that nobody asks in vain

  # In answers of a Session (see Leases below):
  lease @15 :LeaseKind;     # what the session has on the inode now: for as long as that, what is said here may be cached
  stamp @16 :UInt64;        # when this was so: of two answers about an inode the one with the higher stamp is newer
  unsure @17 :Bool;         # another session has the write lease: size, bytesUsed, mtime and ctime may have moved on; ask again
}

const hasXattrs :UInt8 = 1;       # any
const hasAccessAcl :UInt8 = 2;    # system.posix_acl_access
const hasDefaultAcl :UInt8 = 4;   # system.posix_acl_default: what new nodes in the directory inherit
const hasCapability :UInt8 = 8;   # security.capability
# ExtendedBits.

struct Entry {
  name @0 :Text;
  cookie @1 :UInt64;        # position after this entry, for readDirectory
  attributes @2 :Attributes;  # of what it names; when only names were asked, just inode and type
}

struct Caller {
  uid @0 :UInt32;
  gid @1 :UInt32;
}

struct Access {
  inode @0 :UInt64;
  time @1 :Int64;           # of the reader's clock, ns since 1970
}

struct Change {
  # A change of the namespace as a client asks for it: one arm per operation. The metaserver adds what makes it
  # deterministic (time, new ids) and logs it as an Operation (metaserver/operation.capnp).
  sequence @0 :UInt64;
  # Number of the change within its session, from 1. A repeated one (its answer was lost) is not applied again: it
  # gets the first answer. Kept across restarts of the metaserver.
  answered @1 :UInt64;
  # The caller has the answers of all sequences up to this one: the metaserver may forget them.
  caller @2 :Caller;        # owner of what is created

  union {
    create :group {         # regular file, directory, symlink, fifo, socket, device: mknod(2), mkdir(2), symlink(2)
      parent @3 :UInt64;
      name @4 :Text;
      type @5 :FileType;
      mode @6 :UInt16;
      device @7 :UInt32;
      target @8 :Text;      # of a symlink, at most 4095 bytes
      exclusive @9 :Bool;   # exists when the name exists, else the existing file is answered
      open @10 :Bool;       # also open it, as `open` does
      temporary @41 :Bool;
      # O_TMPFILE: a regular file without a name, which `link` may give it later. `name` is empty. With `open`: when
      # the session closes it nameless, or ends, it goes.
      umask @42 :UInt16;    # bits taken from `mode`, unless the directory has a default ACL
    }
    # Refuses: notFound (parent), notDirectory, exists, nameTooLong, noSpace, invalid (empty, ".", "..", "/" in it).
    # Answers the attributes. Sets mtime and ctime of the parent. setgid of the parent: group is inherited,
    # and a directory inherits the bit.

    link :group {           # link(2)
      inode @11 :UInt64;
      parent @12 :UInt64;
      name @13 :Text;
    }
    # Refuses: notFound, notDirectory, exists, tooManyLinks, notPermitted (a directory), nameTooLong.

    unlink :group {         # unlink(2)
      parent @14 :UInt64;
      name @15 :Text;
    }
    # Refuses: notFound, notDirectory, isDirectory. The inode lives until its last link is gone and its last
    # session has closed it. Answers the attributes as they are after it.

    rmdir :group {          # rmdir(2)
      parent @16 :UInt64;
      name @17 :Text;
    }
    # Refuses: notFound, notDirectory, notEmpty.

    rename :group {         # renameat2(2)
      parent @18 :UInt64;
      name @19 :Text;
      newParent @20 :UInt64;
      newName @21 :Text;
      flags @22 :UInt32;    # RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4
    }
    # WHITEOUT leaves a character device 0:0 of the caller in the old place (overlayfs).
    # Atomic, also when it replaces. Refuses: notFound, notDirectory, isDirectory, notEmpty, exists, loop, nameTooLong.
    # Two names of one inode: does nothing, successfully (POSIX).

    setAttributes :group {  # chmod, chown, truncate, utimensat
      inode @23 :UInt64;
      set @24 :UInt32;      # bits of AttributeBits: which of the following
      mode @25 :UInt16;
      uid @26 :UInt32;
      gid @27 :UInt32;
      size @28 :UInt64;
      atime @29 :Int64;
      mtime @30 :Int64;
    }
    # size: chunks beyond it are dropped; a chunk that it cuts reads as zeros from there on, at once, whatever its
    # replicas still hold. Refuses: notFound, isDirectory (size), tooBig, invalid.

    publish :group {        # the client tells what it has written
      file @31 :UInt64;
      length @32 :UInt64;   # the file is at least this long: never lowers it
      modified @33 :Int64;  # new mtime; 0: the metaserver's clock
      chunks @34 :List(UInt64);  # handles written since the last publish
    }
    # Never sent before the data it covers has been applied on all replicas. Raises dataVersion. Repeated (the answer was lost)
    # when the lease is gone, it is answered as of then. stale is not an
    # error for the writer of an unlinked file that is gone; notFound is.

    setXattr :group {
      owner @35 :UInt64;
      key @36 :Text;
      value @37 :Data;
      flags @38 :UInt32;    # XATTR_CREATE 1, XATTR_REPLACE 2
    }
    removeXattr :group {
      from @39 :UInt64;
      attribute @40 :Text;
    }

    accessed @43 :List(Access);
    # These have been read. Moves atime where it is not later than mtime and ctime, or older than a day (relatime); it never
    # goes back, and ctime stays. Inodes that are gone are passed over. Answers no attributes.

    punch :group {          # the whole-chunk part of fallocate(2) PUNCH_HOLE and ZERO_RANGE
      hollow @44 :UInt64;
      firstChunk @45 :UInt64;
      endChunk @46 :UInt64;   # chunks with index in [firstChunk, endChunk) go: they read as zeros
      atLeast @47 :UInt64;    # the file becomes this long if it is shorter
    }
    # mtime and ctime move and dataVersion rises. Refuses: notFound, invalid, tooBig.

    share :group {          # the whole-chunk part of copy_file_range(2)
      source @49 :UInt64;   # inode
      fromChunk @50 :UInt64;
      target @51 :UInt64;   # inode; may be the same, if the ranges do not overlap
      toChunk @52 :UInt64;
      bytes @53 :UInt64;    # from the start of chunk `fromChunk` on; at most 64 GiB
      handles @54 :List(UInt64);
      # Filled in by the metaserver: the chunks of the source's range, 0 for a hole, which it has made stand still.
    }
    # The target has the source's chunks in that range from now on, without a copy of their bytes; holes are holes. The first write to a
    # shared chunk, through either file, gives that file one of its own. What the target had there goes. It
    # becomes as long as the range reaches; mtime and ctime move and dataVersion rises. A range that ends inside of a chunk
    # must end at or behind the end of the target. What the source's clients have not published is not in it.
    # Refuses: notFound, invalid (not regular files, beyond the end of the source, overlapping, inside of a chunk), tooBig,
    # staleVersion (the source has changed meanwhile: once more, or copy), busy (a chunk is being
    # written and cannot be made to stand still: copy).
  }

  chunkBlocks @48 :List(UInt32);
  # publish: for each of its `chunks`, how many of the chunk's blocks hold anything but zeros (st_blocks).
  chunkIndexes @55 :List(UInt64);
  # publish: for each of its `chunks`, where it is in the file. A chunk that is not there any more is not counted.
}

const setMode :UInt32 = 1;
const setUid :UInt32 = 2;
const setGid :UInt32 = 4;
const setSize :UInt32 = 8;
const setAtime :UInt32 = 16;
const setMtime :UInt32 = 32;
const setAtimeNow :UInt32 = 64;
const setMtimeNow :UInt32 = 128;
# AttributeBits. ...Now: the metaserver's clock.

struct Outcome {
  status @0 :Status;
  attributes @1 :Attributes;  # of the inode the change was about
  parent @2 :Attributes;      # of the directory it was done in, where there is one
  index @3 :UInt64;           # of the operation in the log: `sync` up to it makes it durable
  replaced @4 :UInt64;        # rename: the inode that lost its name to it, 0 if none
  newParent @5 :Attributes;   # rename into another directory: that one
  loser @6 :Attributes;       # rename: of `replaced`, or of the one exchanged, as it is after it (unless it is gone)
  quotaLeft @7 :UInt64 = 0xffffffffffffffff;
  # bytes that the tightest quota of `attributes` leaves; all ones: it is under none. A client that has written so much more (and
  # not published it) publishes before it takes more.
  heldUp @8 :Bool;
  # With notReady: a large snapshot is being made, and whatever changes something waits until it is. The client asks again, however
  # long that takes: what it allows for the call begins anew.
}

# -- Leases: how mounts cache, and see each other at once all the same.
#
# An inode is leased to a session. What a lease allows:
#   read    cache what the metaserver and the chunk daemons say of the inode: attributes, which extended attributes it has,
#           a symlink's target, pages, locations; of a directory also its names, the absence of names, its listing.
#   append  recordAppend. Caches nothing. Of a regular file.
#   write   all that read does, and buffer writes, append (O_APPEND) at the end; who has it is the authority for size, mtime
#           and blocks. Of a regular file.
# INVARIANT: of one inode there are many read leases, or many append leases, or one write lease.
#
# Granting. Every answer with attributes says which lease the session has on that inode with it (`lease`, `stamp`); lookup
# and readDirectory also say so of the directory (`directory`). Such an answer grants the strongest lease that takes nothing away from
# another session and nobody waits for: read; by `open` with `forWrite` and by a create that opens, write. It never waits for a
# recall. `acquire` waits. An answer with a weaker lease than the session has takes nothing away: only a recall does, or
# `voidUpTo`. What a session has seen of its own changes is newer than an answer with a lower stamp: an answer about a name,
# too, goes by the stamp of its directory. A session without ClientDescription.leases gets none.
#
# Stamps rise with each answer and each recall, also across restarts of the metaserver. A grant whose stamp is not above
# that of the last recall of the inode is void: the two have overtaken each other. Its attributes are true all the same: a
# client that still has a lease on the inode (the recall left it the read) takes them if they are newer than those it has. So
# it keeps two stamps: that of the lease, and that of the attributes. Who cannot remember the stamps of all old recalls takes the
# highest of those it has forgotten for that of each.
#
# Recall. `ClientCallback.recall` names inodes and what may stay of each lease. The client begins nothing more under
# the lease, lets finish what is under way, writes out and publishes what it has buffered (if a write lease goes), waits for its
# record appends and their publish (if an append lease goes), drops what it has cached, makes its kernel forget, and answers.
# What waits for the answer to its `acquire` goes first, once: else two who want the same never get anything done.
# While it does so it still holds the lease. For all this it needs only `publish`, `locate`, `sync`, `release`, `giveBack` and `renew`, and
# these never wait for a recall; so there is no circle: an answer to a recall waits for calls that wait for no recall. In
# particular no answer to a recall may wait for an operation of the mount's own kernel that is itself under way here (it may wait for
# another session's recall, which waits for one like this).
#
# A change waits until no other session has a lease on any inode that it touches (a directory whose names change; an
# inode whose attributes or links do). The caller's own leases stay: its outcome tells the new attributes of all it has
# touched, and counts for them though the lease in it is none. A change that the client gives up while it may still be
# applied takes from it what it has cached of the inodes. While it waits and until it is answered, nobody else is granted a lease on these. `accessed` is no such change:
# access times are told when they are told. `publish` under the write or append lease waits for nobody; without one it is
# refused (notLeased), and so is `locate` for writing: who lost its lease to silence has lost its authority, too. (A client
# that knows no leases may do both while nobody else holds one.)
#
# Term. `renew` and openSession, and no other call, renew all leases of the session for `leaseMs`: the client counts from when it
# sent the call, by its own clock, and serves nothing from its caches beyond that; the metaserver counts from when it received it, and
# CLOCK_ERROR_MAX more. A recall that is not answered by then is over: the session loses ALL its leases, and hears of it in the next answer to
# renew or openSession: `voidUpTo` is a stamp, and every lease with that or a lower one is void. Leases nobody wanted meanwhile are valid again
# after a renewal. A session that renews and leaves a recall unanswered for RECALL_TERM is fenced. A closed connection proves
# nothing: the same times are waited out. An answer that comes while the term does not run, by the client's clock, grants
# nothing: not having heard `voidUpTo`, the client cannot tell which of its leases the grant goes on with.
#
# A lost write lease: before anybody else gets a lease on the file, the leases of its chunks are taken back, so that what the old
# holder still has on its way is refused by the chunk daemons (notPrimary, staleVersion). Buffered writes may be sent after all once the
# write lease has been acquired again and dataVersion shows that nobody has changed the file meanwhile.
#
# Restart of the metaserver. Leases are volatile. Sessions that come back name theirs (openSession `leases`), if their term
# runs by their own clock; else they have none. Until all have, or the term has passed since the start, nobody gets a lease or makes a change that one of the missing could be in the way of.

enum LeaseKind {
  none @0;
  read @1;
  append @2;
  write @3;
}

struct Lease {
  inode @0 :UInt64;
  kind @1 :LeaseKind;
  stamp @2 :UInt64;
}

struct Location {
  # Where a chunk is. `handle` 0: there is no chunk there, it reads as zeros.
  index @0 :UInt64;         # of the chunk in its file
  chunk @1 :ChunkId;
  replicas @2 :List(Replica);  # up to date, nearest to the caller first
  primary @3 :UInt32;       # server id; 0 when no lease is out
  leaseMs @4 :UInt32;       # how long the primary may act from now on, at the least
  validBytes @5 :UInt32 = 0xffffffff;
  # Bytes at and beyond this offset of the chunk are zeros whatever the replicas hold: a truncate that they have
  # not done yet. They do it before the next lease is granted, so a location for writing never has it.
  lostAt @6 :UInt64;
  # What was acknowledged under a location with a lower `asOf`, and not synced, may be lost: at one time every replica's
  # machine had lost its power. Stays with the place in the file when the chunk there is replaced by a clone of it.
  complete @7 :Bool;
  # No other store may hold a replica that counts: what these have all synced is synced.
  asOf @8 :UInt64;          # the last operation of the log when this was so
}

# Inodes by number, here and in Session: one that existed and is gone answers `stale` (the kernel then walks the path again
# and finds what has replaced it), one that never was, or whose making a loss of power has taken from the log, `notFound`.

interface Metaserver {
  # The service behind Gate.hello. A metaserver on HOST:PORT also listens on unix-abstract:cairn-metaserver-PORT.

  openSession @0 (client :ClientDescription, callback :ClientCallback, resume :UInt64,
                  openInodes :List(UInt64), leases :List(Lease))
      -> (status :Status, session :Session, id :UInt64, expiryMs :UInt32, commit :Text, replicas :UInt8,
          leaseMs :UInt32, voidUpTo :UInt64, refused :List(UInt64), epoch :UInt64, lostFrom :UInt64,
          boot :UInt64);
  # A mount begins. Its session lives while renewed (any call renews it), across reconnects and restarts of the
  # metaserver: `resume` is the id to go on with, 0 for a new one. After `expiryMs` of silence it is fenced: its open
  # files close and resuming answers sessionExpired. Durable before it is answered.
  # `openInodes`: with `resume`, what the session holds open at that moment; it replaces what the metaserver remembers
  # (which after its restart is nothing). Call it anew after each reconnect.
  # `leases`: with `resume`, those that the session has, including those being recalled, with their stamps; likewise. Those
  # `epoch`: of the metaserver. Another one than at the last call, and `lostFrom` not 0: answers that rest on this operation of the
  # log, or on a later one, may be lost (commit mode `memory`, and its machine has lost its power): what is cached is void, and
  # syncs must say so. `boot`: of its machine. A client that has missed an epoch takes all for lost that it does not know to be durable
  # (see renew), unless the machine has not been started anew since.
  # in `refused` are another's by now: void. `leaseMs`: the term of leases; 0: this metaserver grants none. `voidUpTo`: see renew.

  register @1 (store :StoreDescription, orders :ChunkServer) -> (status :Status, message :Text, server :UInt32,
      heartbeatMs :UInt32, fleet :Fleet);
  # A chunk daemon joins, or comes back. Its server id is durable; the store keeps it. The daemon then reports all its
  # chunks; until the report is complete they count for reads only as far as reported.
  # Refuses: exists (another process serves that store now), with a sentence in `message`. When the machine has another boot
  # than before, the other process is asked first, and must answer.

  status @2 () -> (status :ClusterStatus);
  # For `cairn status`. Costs time by the number of daemons, not of files.

  resolve @3 (path :Text) -> (status :Status, attributes :Attributes);
  # A path from the root, without following symlinks. For tools that have no mount.

  describeFile @4 (inode :UInt64, first :UInt64, count :UInt32)
      -> (status :Status, attributes :Attributes, chunks :List(ChunkDetail), more :Bool);
  # For `cairn info`: the chunks with index `first` and after, at most `count` (and 1,000), holes left out.

  administration @5 () -> (administration :Administration);
  # For `cairn drain`, `cairn rebalance`, `cairn replicas`.
}

struct ChunkDetail {
  index @0 :UInt64;
  chunk @1 :ChunkId;
  primary @2 :UInt32;       # 0: no lease is out
  leaseMs @3 :UInt32;
  references @4 :UInt32;    # places of files that share the chunk
  replicas @5 :List(ReplicaDetail);
}

struct ReplicaDetail {
  server @0 :UInt32;
  address @1 :Text;
  version @2 :UInt64;
  length @3 :UInt32;        # bytes, as last reported
  state @4 :Text;           # current, stale, corrupt, silent
}

struct ClientDescription {
  host @0 :Text;            # machine identity, as in Address.host
  name @1 :Text;            # for people: host name, mount point, pid
  leases @2 :Bool;          # it answers recall and describe, and keeps the rules of Leases
  tellsSyncs @3 :Bool;
  # It names the chunks that its syncs cover (Session.change, Session.sync). Who does not is refused, as wrongProtocol:
  # what it takes for synced could be given up as what nobody was promised.
}

interface ClientCallback {
  # What the metaserver asks of a mounted client.

  invalidate @0 (inodes :List(UInt64), names :List(NameOfDirectory)) -> ();
  # Forget cached attributes, pages, locations and names. Answers when done. To clients without ClientDescription.leases only.

  recall @1 (leases :List(Lease)) -> ();
  # Of each inode: what the session may keep (`kind`), as of `stamp`. Answers when all of them are as asked; single ones may be
  # given back before with `giveBack`. A session may be asked for an inode of which it holds nothing (any more): it has only
  # to remember the stamp. The same recall may come again on another connection, while the first one is being obeyed.
  # Several calls are under way at a time.

  describe @2 (inode :UInt64) -> (status :Status, size :UInt64, bytesUsed :UInt64, mtime :Int64);
  # To the holder of the write lease: how the file is now, with what is buffered. Answers without writing anything out, once
  # no process of that client is told an older size. notLeased: it has given the lease back, or is about to: the metaserver
  # knows all there is, or asks for it with a recall.
}

struct NameOfDirectory {
  parent @0 :UInt64;
  name @1 :Text;
}

interface Session {
  # One mount. Dropping the capability does not end the session; `close` does, or its expiry.

  renew @0 () -> (status :Status, voidUpTo :UInt64, durable :UInt64);
  # Renews the session and the term of its leases; call it every LEASE_RENEW_INTERVAL. All leases with stamps up to `voidUpTo`
  # are void (0: none are): the session was silent for longer than their term, and one of them was wanted. `durable`: the log is on
  # stable storage up to there.
  close @1 () -> ();

  change @2 (change :Change, durable :Bool, covered :List(UInt64)) -> (outcome :Outcome);
  # The only way to change the namespace. In the log when it answers; with `durable` on stable storage, with all before
  # it: what `sync` up to it would wait for, in one call. ioError: the change is done, but the log's disk refused.
  # `covered`: see sync.

  lookup @3 (parent :UInt64, name :Text) -> (status :Status, attributes :Attributes, directory :Lease);
  # notFound, notDirectory, nameTooLong. ".." is the parent. `directory`: the lease on `parent`, also with notFound: under
  # it the name, or its absence, may be cached.

  getAttributes @4 (inode :UInt64) -> (status :Status, attributes :Attributes);
  # This and lookup ask the holder of the write lease, if that is another session, how the file is now (`describe`); if it
  # does not say, they wait for a recall, for a while: notReady.

  readDirectory @5 (inode :UInt64, cookie :UInt64, limit :UInt32, attributes :Bool)
      -> (status :Status, entries :List(Entry), end :Bool, directory :Lease);
  # Up to `limit` entries (at most 1,000) after `cookie` (0: from the start), in a stable order in which an entry keeps its
  # place while others come and go. "." and ".." are left to the caller. With `attributes` each entry is granted a read lease
  # where that is possible; holders of write leases are not asked (`unsure`).

  readLink @6 (inode :UInt64) -> (status :Status, target :Text);

  open @7 (inode :UInt64, forWrite :Bool) -> (status :Status, attributes :Attributes, locations :List(Location),
                                                quotaLeft :UInt64 = 0xffffffffffffffff);
  # The session holds the inode open (counted once, however often it is opened): it lives on without a name. Also answers the location of
  # the first chunk for reading. `forWrite`: it will be written, so the write lease is wanted, if nobody else has any. The holder
  # of a write lease is not asked (`unsure`): `acquire` what is needed.

  release @8 (inodes :List(UInt64)) -> ();
  # The session has closed these for the last time.

  locate @9 (inode :UInt64, first :UInt64, count :UInt32, forWrite :Bool, suspects :List(UInt32),
             unsynced :List(UInt32), version :UInt64)
      -> (status :Status, locations :List(Location));
  # The chunks with index first to first + count - 1 (at most 64; the answer may hold fewer, at least one). For writing: exactly one chunk; it is made when missing,
  # a lease is granted when none is out (version raised, persisted, replicas told, before this answers).
  # `suspects`: servers that failed the caller just now; for writing they are probed and left out when they do not answer.
  # `version`, for reading one chunk, when not 0: the caller wants to sync. The answer is complete, if need be under a higher
  # version; `unsynced` are replicas of `version` that did not sync for the caller: then it is of a higher version, without
  # them as long as there are enough others, else with all made equal to a good one.
  # Refuses: notFound, notReady (retry), noSpace, noReplica (none of a chunk's good replicas is known: retry while
  # daemons come back), ioError (likewise, and every store of the cluster is there: none will come), notLeased (for writing:
  # the session has neither the write nor the append lease).

  sync @10 (index :UInt64, covered :List(UInt64), inode :UInt64) -> (status :Status);
  # Barrier: the log is on stable storage up to this operation (0: all until now).
  # `covered`: chunks (handles) that the caller is about to call synced. Once that has been said of a chunk, its bytes are never
  # given up without a word; before, a chunk of which a loss of power has left nothing anywhere is made anew, of zeros, and
  # `lostAt` tells. Once said it need not be said again, unless the sync did not succeed: of what no store has it is not noted.
  # `inode`, when not 0: what the caller syncs. Refuses, when it is not there: stale (somebody has deleted it), notFound (no operation of
  # the log has ever made it: a loss of power has taken that).

  statistics @11 (inode :UInt64) -> (blocksTotal :UInt64, blocksFree :UInt64, inodes :UInt64, inodesFree :UInt64,
                                     overQuota :Bool);
  # statfs(2), in blocks of BLOCK_SIZE, after replication at the default count. Of the tightest quota that `inode` is under, if there is
  # one (0: none). `overQuota`: it is the quota that leaves so few blocks.

  reportCorrupt @12 (chunk :ChunkId, server :UInt32) -> ();
  # The caller read bytes that fail their checksum from that server. It is taken out of the set after it was asked to verify.

  getXattr @13 (inode :UInt64, name :Text) -> (status :Status, value :Data);
  listXattr @14 (inode :UInt64) -> (status :Status, names :List(Text));

  lock @15 (lock :FileLock, waitMs :UInt32, ticket :UInt64) -> (status :Status, conflict :FileLock);
  # fcntl(2) and flock(2) locks, across mounts. Takes, changes or (type unlock) gives back. Refuses: wouldBlock (another
  # owner's lock is in the way for as long as `waitMs`; `conflict` shows it), deadlock (waiting would close a circle of POSIX
  # lock owners), stale. `ticket`: the caller's number for the wait; while a call with it is under way, cancelLock ends it. To
  # wait longer, call again. Repeating a call is harmless.
  # Volatile: held in memory until given back, or until the session ends. After a restart of the metaserver the session
  # takes its locks again (`reclaim`) before anybody else's new lock is granted.

  testLock @16 (lock :FileLock) -> (status :Status, conflict :FileLock);
  # F_GETLK: ok with a conflict of type unlock when it could be taken.

  cancelLock @18 (ticket :UInt64) -> (status :Status);
  # The lock call with that ticket answers now: ok if it has been granted meanwhile, else wouldBlock.

  reclaimLocks @17 (locks :List(FileLock)) -> (status :Status);
  # What the session held when the metaserver restarted. To be called before any other lock call of a resumed session.

  findChunk @19 (inode :UInt64, first :UInt64, sparse :Bool) -> (status :Status, index :UInt64, found :Bool);
  # The first chunk with index `first` or above; with `sparse`: the first index from `first` on where there is no chunk, or
  # one not known to be full of data. For SEEK_DATA and SEEK_HOLE. Looks at a bounded number of chunks: with `sparse`,
  # `found` false means that the search ended before `index`: go on there.

  acquire @20 (inode :UInt64, kind :LeaseKind) -> (status :Status, attributes :Attributes, heldUp :Bool);
  # Waits until the session can have the lease, recalling others', and answers the attributes as of then, with it. In the
  # order of the calls. notReady: it takes longer; ask again, the place in the queue is kept for a while. A session that has a stronger
  # one keeps it (write instead of read or append). `heldUp`: as in Outcome. Refuses: notFound, stale, invalid (append or write of what
  # is not a regular file).

  giveBack @21 (leases :List(Lease)) -> ();
  # The session keeps only `kind` of these, as of `stamp`: that of the last grant or recall that it knows of. A grant with a higher
  # stamp, on its way, stands. What a write lease covers has been published before.

  needSpace @22 () -> (status :Status);
  # The caller was refused space. ok: some is on its way, for the trash gives some back: try again after a pause. noSpace: none
  # is to come.
}

struct FileLock {
  inode @0 :UInt64;
  kind @1 :LockKind;
  type @2 :LockType;
  owner @3 :UInt64;         # of the mount's kernel: locks of one (session, owner) never conflict
  start @4 :UInt64;         # first byte; flock: 0
  end @5 :UInt64;           # last byte, at most 2^63 - 1: to the end of the file, however it grows; flock: that
  pid @6 :UInt32;           # for F_GETLK
}

enum LockKind {
  posix @0;                 # fcntl F_SETLK, F_OFD_SETLK, lockf
  whole @1;                 # flock
}

enum LockType {
  unlock @0;
  shared @1;
  exclusive @2;
}

struct StoreDescription {
  store @0 :Text;           # UUID of the store directory
  server @1 :UInt32;        # id given before, 0 for a new store
  address @2 :Address;
  rack @3 :Text;
  boot @4 :UInt64;
  bytesTotal @5 :UInt64;
  bytesFree @6 :UInt64;
  chunks @7 :UInt64;
  pid @8 :UInt32;
  epoch @9 :UInt64;         # the highest of a metaserver that it has obeyed
}

interface Fleet {
  # A chunk daemon's line to the metaserver, for as long as its connection lasts.

  report @0 (chunks :List(ChunkReport), last :Bool) -> (delete :List(ChunkId));
  # What the store holds, in batches of at most 10,000. Answers what to delete of it: replicas of old versions, and chunks
  # that no file has. `last`: the report is complete. A
  # metaserver may instead order deletes later, through `orders` (this one does: each is judged again first).

  heartbeat @1 (bytesTotal :UInt64, bytesFree :UInt64, chunks :UInt64, load :UInt32, extend :List(ChunkId),
                removed :List(UInt64), scrub :ScrubStatus) -> (status :Status, epoch :UInt64, leaseMs :UInt32, extended :List(UInt64), delete :List(ChunkId));
  # Every heartbeatMs. `extend`: leases in use that this primary wants to keep; those in `extended` run `leaseMs` from when this was
  # SENT. `load`: operations in flight. `removed`: replicas that it has lost or quarantined.

  failed @2 (chunk :ChunkId, servers :List(UInt32)) -> (status :Status);
  # From a primary: these secondaries did not apply a write. The lease has ended here; the next locate makes a new version without them.
}

struct ScrubStatus {
  # How a store checks the bytes of all its chunks against their checksums, round and round.
  oldestS @0 :UInt64;       # seconds since the chunk that waits longest was checked, or came to the store
  bytes @1 :UInt64;         # checked since the daemon started
  damaged @2 :UInt64;       # chunks found damaged since then
  rate @3 :UInt64;          # bytes per second it may check at the most; 0: it does not
}

struct ServerStatus {
  server @0 :UInt32;
  address @1 :Text;
  rack @2 :Text;
  state @3 :Text;           # up, reporting, silent, down
  bytesTotal @4 :UInt64;
  bytesFree @5 :UInt64;
  chunks @6 :UInt64;
  lastHeartbeatMs @7 :UInt64;
  pid @8 :UInt32;
  draining @9 :Bool;        # its chunks are being copied away
  leaving @10 :UInt64;      # when draining: chunks that still count on it
  copying @11 :UInt32;      # chunks being copied to it
  scrub @12 :ScrubStatus;
}

struct ClusterStatus {
  cluster @0 :Text;
  epoch @1 :UInt64;
  safeMode @2 :Text;        # why the metaserver is in safe mode; empty: it is not
  servers @3 :List(ServerStatus);
  sessions @4 :UInt32;
  inodes @5 :UInt64;
  chunks @6 :UInt64;
  chunksHealthy @7 :UInt64;      # all wanted replicas are there
  chunksUnder @8 :UInt64;        # fewer, at least one
  chunksMissing @9 :UInt64;      # none known
  logIndex @10 :UInt64;
  commit @11 :Text;              # disk or memory
  garbage @12 :UInt64;           # chunks waiting to be deleted
  brake @13 :Text;               # why deletes are held back; empty: they are not
  replicas @14 :UInt8;           # default count
  repair @15 :RepairStatus;
  leases @16 :LeaseStatus;
  mounts @17 :List(SessionStatus);  # at most 1,000
  trashFiles @18 :UInt64;
  trashBytes @19 :UInt64;        # of one copy
  trashKeepS @20 :UInt32;        # where a directory says nothing else; 0: no trash
  trashReclaimed @21 :UInt64;    # files that went before their time since the metaserver started, for want of space
  kept @22 :UInt64;              # replicas of chunks that no file has, kept since the namespace was restored from a backup
  snapshot @23 :SnapshotStatus;
}

struct LeaseStatus {
  # Cache leases of the mounts, all together.
  held @0 :UInt64;
  writing @1 :UInt64;       # of these, write leases
  recalls @2 :UInt32;       # asked for and not given back yet
  waiting @3 :UInt32;       # calls that wait for them
  oldestMs @4 :UInt32;      # of the recalls
  missing @5 :UInt32;       # sessions from before the start that may have leases, and have not come back
}

struct SessionStatus {
  session @0 :UInt64;
  host @1 :Text;
  name @2 :Text;
  silentMs @3 :UInt32;      # since its last call
  leases @4 :UInt64;
  writing @5 :UInt64;
  recalls @6 :UInt32;
}
