# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
@0xc0a1f5d0c0330001;
# What every part of CairnFS says in the same words: status, identity, addresses, the first message of a
# connection. Units: bytes unless said otherwise; times are nanoseconds since 1970 (wall clock).

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cairn::rpc");

const protocolVersion :UInt32 = 2;
# Raised when an old peer could misunderstand a new one. Peers of different versions refuse each other.

enum Status {
  # The one taxonomy of answers. Transport failures are exceptions, never a Status.
  ok @0;
  # -- answers: the user sees an errno
  notFound @1;            # ENOENT
  exists @2;              # EEXIST
  notEmpty @3;            # ENOTEMPTY
  isDirectory @4;         # EISDIR
  notDirectory @5;        # ENOTDIR
  noSpace @6;             # ENOSPC: fewer daemons with room than the configured minimum
  tooBig @7;              # EFBIG
  nameTooLong @8;         # ENAMETOOLONG
  tooManyLinks @9;        # EMLINK
  invalid @10;            # EINVAL: the request contradicts itself or a documented limit
  notPermitted @11;       # EPERM
  accessDenied @12;       # EACCES
  stale @13;              # ESTALE: the inode existed once and is gone
  notSupported @14;       # EOPNOTSUPP
  crossDevice @15;        # EXDEV
  busy @16;               # EBUSY
  noData @17;             # ENODATA: no such extended attribute
  range @18;              # ERANGE
  overQuota @19;          # EDQUOT
  # -- stale view: the client refreshes and retries, bounded
  notPrimary @20;         # this chunk daemon holds no lease on the chunk: locate again
  leaseExpired @21;       # it held one: locate again
  staleVersion @22;       # the caller's version of the chunk is old: locate again
  behindVersion @23;      # this replica's version is old: use another replica, locate again
  noReplica @24;          # the chunk daemon does not hold the chunk
  notReady @25;           # safe mode, or daemons not yet registered: retry after a pause
  sessionExpired @26;     # the session is fenced: open a new one
  staleEpoch @27;         # an order from a metaserver older than one already seen
  rebooted @28;           # the replica's machine restarted while it had writes that were not on stable storage: it
                          # serves nothing and counts for no sync before it has been made equal to another
  chunkFull @29;          # recordAppend did not fit: the chunk is padded, go on in the next
  # -- damage: another replica answers; EIO when none is left
  badChecksum @30;        # the data that arrived does not match its checksums: send again
  corrupt @31;            # the stored bytes do not match their checksums; the replica is quarantined
  ioError @32;            # the disk refused
  replicaFailed @33;      # a replica down the chain did not apply: it has been reported
  # -- refusals of a connection
  wrongProtocol @34;
  wrongCluster @35;
  loop @36;               # EINVAL: a directory would be moved into itself
  wouldBlock @37;         # EAGAIN: another holds a lock
  deadlock @38;           # EDEADLK: waiting for a lock would never end
  notLeased @39;          # the session has no cache lease that allows this: acquire it, and try again
}

struct ClusterId {
  high @0 :UInt64;
  low @1 :UInt64;
}

struct Address {
  # How to reach a daemon. A peer in the same network namespace of the same host uses `local`.
  network @0 :Text;       # HOST:PORT
  local @1 :Text;         # a KJ address such as unix-abstract:cairn-..., or empty
  host @2 :Text;          # identity of the machine: same text, same machine
}

interface Gate {
  # The bootstrap object of every daemon: nothing else can be reached before hello has been answered.

  hello @0 (protocol :UInt32, cluster :ClusterId, caller :Text)
      -> (status :Status, message :Text, protocol :UInt32, cluster :ClusterId, epoch :UInt64, service :Capability);
  # `cluster` all zero: the caller does not know it yet and takes the answer's. `caller` is for logs.
  # Refuses: wrongProtocol, wrongCluster; then `message` is a sentence for the user, and `service` is null.
  # `service` is the daemon's own interface: Metaserver or ChunkServer. Changes nothing; may be repeated.
}
