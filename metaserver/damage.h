// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What people are told when the metaserver's own storage is damaged, in one place: what is safe, and the
// command that helps. Also how damage that is found by a read of a running metaserver gets into its log.
#pragma once

#include <kj/function.h>
#include <kj/string.h>

namespace cairn {

constexpr kj::StringPtr HOW_TO_RESTORE =
    "Check the disk; then move the directory away, it may be of use still, and restore the last backup: "
    "cairn-metaserver restore --dir DIR BACKUP. What was done after the backup is lost, files that it knows "
    "are "
    "not (docs/operating.md, Backup)."_kj;

struct DamageWitness {
  // Told of each read that fails. INVARIANT: such a read throws; it is never answered as if there were
  // nothing.
  kj::Maybe<kj::Function<void(kj::StringPtr)>> tell;
};

}  // namespace cairn
