// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Which inodes a change is about: those of which other mounts must have forgotten what they cached before it
// is answered. As the names are now (before it is applied), and as they were when it was (by its outcome):
// the two differ when names have moved in between. Pure. Called by session_handlers.cc.
#pragma once

#include <kj/vector.h>

#include "metaserver/namespace_reader.h"
#include "metaserver/operation.h"

namespace cairn {

struct ChangeSubjects {
  kj::Vector<InodeId> inodes;
  InodeId existing;  // create: what has the name already; then nothing changes

  bool cover(const ChangeSubjects& others) const;
};
ChangeSubjects subjectsOf(rpc::Change::Reader change, const NamespaceReader& names);

kj::Vector<InodeId> touchedBy(rpc::Change::Reader change, const Outcome& outcome,
                              const ChangeSubjects& expected, const NamespaceReader& names);
// Called before anything else is applied. Without those that were expected.

InodeId newParentOf(rpc::Change::Reader change);  // of a rename into another directory; else 0
InodeId loserOf(rpc::Change::Reader change, const Outcome& outcome, const NamespaceReader& names);
// The inode that a rename has replaced, or exchanged for the other; else 0. Called as touchedBy().

}  // namespace cairn
