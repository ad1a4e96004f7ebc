// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What makes a directory a metaserver's: a lock against a second process, and a small file that names format
// and cluster, checked before anything else is opened. Format of the file IDENTITY: three lines,
//   cairn metaserver
//   format 1
//   cluster 0123456789abcdef0123456789abcdef
// Crash table: written to IDENTITY.new, synced, renamed, directory synced. Found without it: an empty
// directory becomes a new cluster's; one with other files in it is refused. Called by meta_server.cc and the
// inspect command.
#pragma once

#include <kj/async.h>
#include <kj/compat/http.h>  // EntropySource

#include "env/disk.h"
#include "rpc/coroutine.h"
#include "rpc/units.h"

namespace cairn {

constexpr uint32_t DIRECTORY_FORMAT = 1;

struct DirectoryIdentity {
  ClusterId cluster;
  kj::Own<env::DiskLock> lock;  // hold it as long as the directory is used
  enum class Age { NEW, FOUND } age = Age::FOUND;
};

kj::String identityText(ClusterId cluster);  // of the file IDENTITY

Async<DirectoryIdentity> claimDirectory(env::Disk& disk, kj::StringPtr name, kj::EntropySource& entropy);
// Throws with a sentence for the user: in use, another program's, of a newer format, damaged. `name` is for
// sentences.

}  // namespace cairn
