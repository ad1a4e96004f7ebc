# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
@0xc0a1f5d0c0330010;
# What the operation log holds: every change of the namespace, with all it needs (time, choices of the proposer), so
# that applying the same operations in the same order gives the same namespace, byte for byte. New ids (inodes, sessions,
# servers, handles) are not in it: they come from counters in the state, which every replay finds at the same value.
# The log keeps old operations for ever readable: fields and arms are added, never renumbered or removed.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::rpc");
using import "/rpc/metaserver.capnp".Change;

struct Trashed {
  # Names a file in the trash.
  until @0 :Int64;          # when it goes, ns since 1970
  inode @1 :UInt64;
}

struct FoundVersion {
  handle @0 :UInt64;
  version @1 :UInt64;
}

struct Mending {
  # What a check has found, see metaserver/finding.h.
  trouble @0 :UInt16;       # Trouble
  inode @1 :UInt64;
  directory @2 :UInt64;
  name @3 :Data;
  chunk @4 :UInt64;
  found @5 :UInt64;
  right @6 :UInt64;
}

struct Operation {
  index @0 :UInt64;         # position in the log, from 1, without gaps. Set by the log
  epoch @1 :UInt64;         # of the metaserver that proposed it. Set by the log
  time @2 :Int64;           # wall clock of the proposer, ns since 1970. Set by the log
  session @3 :UInt64;       # whose change it is; 0: the metaserver's own
  unheld @4 :UInt64;
  # The proposer's word that no session has this inode open, nor can have when the operation is applied. If it is the
  # one that loses its last link, it goes at once; any other becomes an orphan, to be purged later. 0 is always safe.

  inodesSkipped @69 :UInt64;
  # startEpoch: so many inode numbers are never given. Operations that a loss of power has taken from the end of the log have
  # given some, and they must not come to mean other files. 0 in logs from before this field.
  boot @70 :UInt64;
  # startEpoch: of the metaserver's machine. Another one than last time: the end of the log may have been lost.

  union {
    change @5 :Change;
    # A client's. The answer is kept under (session, sequence) and a repetition gets it again, until the session says
    # (`answered`) that it has arrived. Refuses, besides what Change says: sessionExpired (no such session), invalid (a
    # sequence that the session has already acknowledged).

    found :group {
      # The first operation of a cluster: makes the root directory.
      clusterHigh @6 :UInt64;
      clusterLow @7 :UInt64;
      mode @8 :UInt16;      # of the root
      uid @9 :UInt32;
      gid @10 :UInt32;
      replicas @11 :UInt8;  # copies that a file wants, inherited from the directory
    }

    startEpoch @12 :Void;
    # A metaserver begins to speak: the epoch rises by one. Its number is the answer. `inodesSkipped` and `boot` are for it.

    openSession :group {
      host @13 :Text;
      name @14 :Text;
    }
    # A mount begins. Its id is the answer.

    closeSession :group {
      closed @15 :UInt64;
      purge @16 :List(UInt64);
      # Orphans that nobody holds open now that this session is gone.
    }
    # The session and its remembered answers go. Refuses: sessionExpired (it is gone already).

    registerStore :group {
      store @17 :Text;      # UUID
      server @18 :UInt32;   # the id the store remembers; 0: none
    }
    # Answers the server id of the store: the one on record, else the one it remembers if no other store has it, else a new
    # one. Refuses: invalid (empty UUID; it remembers an id that another store has).

    reserveHandles @19 :UInt32;
    # So many handles may be given out. Answers the first; none of them is ever answered again.

    attachChunk :group {
      inode @20 :UInt64;
      chunkIndex @21 :UInt64;
      handle @22 :UInt64;   # reserved, never attached before
      replicas @23 :UInt8;  # 0: as many as the file wants
      uncovered @59 :Bool;  # the proposer will log which chunks syncs cover (coverChunks). Not set before that was so
    }
    # The chunk becomes part of the file, with version 1 and floor 1. Refuses: stale (inode gone), invalid (not a
    # regular file, handle not reserved or in use), exists (there is a chunk; Outcome.chunk is its handle), tooBig.

    raiseVersion :group {
      raised @24 :UInt64;   # handle
      from @25 :UInt64;     # the version it has now
      lossy @54 :Bool;      # only suspects are left to make it from, or nothing: lostAt = this operation
    }
    # version = from + 1, or more after a restore; floor stays: replicas of any version from floor on may be the latest. On stable storage before
    # any chunk daemon is told. Refuses: notFound, staleVersion (it does not have the version `from`).

    confirmVersion :group {
      confirmed @26 :UInt64;  # handle
      version @27 :UInt64;
      truncated @28 :UInt32 = 0xffffffff;  # Adoption.truncate of the round: the chunk's validBytes then
    }
    # All replicas that count have adopted `version`: floor = version, and the truncate that they were told is done. Refuses:
    # notFound, staleVersion (the version has moved on, or a truncate came between: raise again).

    purge @29 :List(UInt64);
    # Orphans that nobody holds open any more go, with their chunks, or into the trash. One that is not an orphan is ignored. A file
    # of very many chunks goes in several such operations: Outcome.more.

    collectGarbage @30 :List(UInt64);
    # Handles of dropped chunks of which no replica is left that we know of: their garbage records go.

    unregisterStore @31 :UInt32;
    # A server id that will not come back. Its id is not given again. Refuses: notFound.

    drainStore :group {
      drained @32 :UInt32;
      draining @33 :Bool;
    }
    # The store is to be emptied, or no longer. Refuses: notFound.

    setReplicas :group {
      subject @34 :UInt64;  # inode: a regular file or a directory
      copies @35 :UInt8;    # 1 to 16
      fromChunk @36 :UInt64;
    }
    # So many copies are wanted: of a directory, by what is made in it from now on; of a file, by itself and its chunks
    # from that index on, as many as go into one operation. Answers the chunk index to go on with, 0: all are done. Refuses: stale,
    # notFound, invalid.

    configureTrash :group {
      keepS @37 :UInt32;    # seconds that a deleted file stays in the trash, where its directory says nothing else; 0: none does
      ageS @38 :UInt32;     # a file that has lived less than so many seconds does not go there
    }
    # Of the cluster, for what is deleted from now on. Refuses: invalid.

    keepTrash :group {
      keeper @39 :UInt64;   # directory
      seconds @40 :UInt32;  # 0xffffffff: as the cluster
    }
    # The same for what is deleted in a directory, and in those that are made in it from now on. Refuses: stale, notFound,
    # notDirectory.

    restoreTrash :group {
      restored @41 :Trashed;
      into @42 :UInt64;     # directory
      as @43 :Text;         # name
    }
    # A file in the trash gets a name again. Answers its attributes and its parent's. Refuses: notFound (it is not there), then as
    # `link` of the new name.

    purgeTrash @44 :List(Trashed);
    # These go from the trash, with their chunks. One that is not in it is ignored. Answers how many went; Outcome.more as with purge.

    ownChunk :group {
      owner @45 :UInt64;    # inode
      place @46 :UInt64;    # chunk index
      shared @47 :UInt64;   # the handle that is there now
      sharedVersion @48 :UInt64;  # under which it was cloned
      own @49 :UInt64;      # the clone: reserved, never attached before. 0: nobody else has the chunk any more, keep it
    }
    # The place gets the clone, with version 1 and floor 1, and gives back its reference to the shared chunk. With `own` 0
    # what is valid of the chunk for this file becomes what is valid of the chunk. Refuses: stale (inode
    # gone), staleVersion (another chunk is there, or the version has been raised; with `own` 0: somebody else
    # has it), invalid (handle not reserved or in use).

    setQuota :group {
      quotaOf @50 :UInt64;  # directory
      bytesMax @51 :UInt64; # 0: no limit
      inodesMax @52 :UInt64;
    }
    # What is below the directory may take so much; both 0: it has no quota. The first one of a cluster begins to count the tree.
    # Refuses: stale, notFound, notDirectory.

    coverChunks @60 :List(UInt64);
    # A sync is about to be answered that covers these chunks: from now on their bytes are never given up as ones that nobody
    # was promised. A chunk that is not there any more is passed over. Durable before the sync is answered.

    countTree @53 :UInt32;
    # So many more entries of directories are counted. Answers how many inodes it has counted; Outcome.more: there are more.

    snapshot :group {
      original @55 :UInt64; # directory
      inDirectory @56 :UInt64;
      called @57 :Text;     # name
      still @58 :List(UInt64);
      # In rising order: chunks of the tree, made to stand still by the proposer. One in the tree that is not in it, and is
      # not shared already, refuses it all.
    }
    # The tree below `original` is there a second time, under that name, with all that it has; files share their
    # chunks with those of the original. Answers the attributes of the new directory and of its parent, and how many
    # inodes were made. Refuses: stale, notFound, notDirectory, exists, nameTooLong, noSpace, loop (the
    # place lies in the tree), tooBig (more inodes or chunks than one operation may have), overQuota, staleVersion (a chunk does not stand still).

    restored :group {
      floor @61 :UInt64;    # above every inode number, session, handle and chunk version that may have been given out since the backup
      epochs @62 :UInt64;   # how many starts there may have been since
    }
    # The namespace comes from a backup, and others may have seen what was done after it. Nothing is given out twice: numbers go
    # on from the floor, and versions of the chunks that there are jump to it when they are next raised. All sessions
    # end. Stores have to teach it first (NamespaceState.restored). The first operation of a restored directory.

    epochSeen @63 :UInt64;
    # A store has obeyed this epoch. Only while a restored namespace takes over: the epoch is at least that one. Refuses: invalid.

    foundVersions @64 :List(FoundVersion);
    # Of chunks from before the restore: stores hold these versions, which were raised after the backup. Version and floor of the
    # record follow, upwards only; what does not fit is passed over. Answers how many records have moved.

    takenOver @65 :Void;
    # A restored namespace has heard all stores: it is in charge. Refuses: invalid (it was not taking over).

    releaseKept @66 :Void;
    # Chunks from before the restore that no file has need not be kept any more. Refuses: notReady (it is taking over).

    mend :group {
      asOf @67 :UInt64;     # the operation as of which the namespace was checked
      mendings @68 :List(Mending);
    }
    # What that check has found is put right: counts by the difference, rows if they are still wrong. Answers how many were.
    # Refuses: staleVersion (what another check has found was mended since).

    stageTree :group {
      stagedFrom @71 :UInt64;   # directory
      stagedFor @72 :UInt64;    # directory that will get the name
      stagedName @73 :Text;
    }
    # Begins a copy of a tree of any size where no name leads to it: its top, empty. The number of that inode is the answer. Until
    # `linkStaged` the proposer lets nothing be changed that the copy could show. Refuses as `snapshot`.

    copyStaged :group {
      staging @74 :UInt64;      # inode of its top
      copyAtMost @75 :UInt32;   # so much: an inode or name counts 1, and so do a chunk and a KiB of extended attributes
      standing @76 :List(UInt64);  # as `still` of `snapshot`: chunks of what comes next
    }
    # The next step of it, up to the first chunk that may be being written. Answers how many inodes it has by now; Outcome.more: it is
    # not complete. Refuses: notFound, stale (it is complete, or being dropped), overQuota (with what it has already), staleVersion (the
    # very first chunk does not stand still).

    linkStaged :group {
      linked @77 :UInt64;       # inode of its top
      linkedAs @78 :Text;       # name
    }
    # The copy, which is complete, gets its name in the directory that it is for. Answers as `snapshot`, and refuses as it;
    # besides: notFound, notReady (it is not complete).

    dropStaged :group {
      dropped @79 :UInt64;      # inode of its top
      dropAtMost @80 :UInt32;   # in the measure of `copyAtMost`
    }
    # The next step of taking such a copy away again, with its references to chunks; of one that has its name, only of what was noted
    # to make it. Answers how many inodes went; Outcome.more: there is more. One that is not there is ignored.
  }
}
