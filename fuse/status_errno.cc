// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/status_errno.h"

#include <errno.h>

namespace cairn::fuse {

int errnoOf(Status status) {
  // No default: a new Status does not compile until somebody has decided what the user sees.
  switch (status) {
    case Status::OK:
      return 0;
    case Status::NOT_FOUND:
      return ENOENT;
    case Status::EXISTS:
      return EEXIST;
    case Status::NOT_EMPTY:
      return ENOTEMPTY;
    case Status::IS_DIRECTORY:
      return EISDIR;
    case Status::NOT_DIRECTORY:
      return ENOTDIR;
    case Status::NO_SPACE:
      return ENOSPC;
    case Status::TOO_BIG:
      return EFBIG;
    case Status::NAME_TOO_LONG:
      return ENAMETOOLONG;
    case Status::TOO_MANY_LINKS:
      return EMLINK;
    case Status::INVALID:
      return EINVAL;
    case Status::NOT_PERMITTED:
      return EPERM;
    case Status::ACCESS_DENIED:
      return EACCES;
    case Status::STALE:
      return ESTALE;
    case Status::NOT_SUPPORTED:
      return EOPNOTSUPP;
    case Status::CROSS_DEVICE:
      return EXDEV;
    case Status::BUSY:
      return EBUSY;
    case Status::NO_DATA:
      return ENODATA;
    case Status::RANGE:
      return ERANGE;
    case Status::OVER_QUOTA:
      return EDQUOT;
    case Status::LOOP:
      return EINVAL;  // rename(2): a directory would be moved into itself
    case Status::WOULD_BLOCK:
      return EAGAIN;
    case Status::DEADLOCK:
      return EDEADLK;
    // The client library retries these; one that gets here has outlived its patience.
    case Status::NOT_PRIMARY:
    case Status::LEASE_EXPIRED:
    case Status::STALE_VERSION:
    case Status::BEHIND_VERSION:
    case Status::NO_REPLICA:
    case Status::NOT_READY:
    case Status::STALE_EPOCH:
    case Status::REBOOTED:
    case Status::CHUNK_FULL:
    case Status::NOT_LEASED:
      return EIO;
    case Status::SESSION_EXPIRED:
      return ESTALE;  // what was open under the fenced session is gone
    case Status::BAD_CHECKSUM:
    case Status::CORRUPT:
    case Status::IO_ERROR:
    case Status::REPLICA_FAILED:
    case Status::WRONG_PROTOCOL:
    case Status::WRONG_CLUSTER:
      return EIO;
  }
  return EIO;  // a number from a newer peer
}

}  // namespace cairn::fuse
