// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn-metaserver restore`: a metaserver's directory from a backup. What makes it safe to run among stores
// and mounts that have seen more than the backup has is one operation, `restored` (ops/restore.cc), which is
// put into the new log and applied by the first start. Its floor is the time of the restore in seconds, times
// 2^20: above whatever was given out before, unless a million a second were, or the clock is wrong; and above
// that of any earlier restore of the same backup. Crash table: IDENTITY is written last. A directory without
// it is refused by a start and by another restore; remove it.
#pragma once

#include <kj/string.h>
#include <kj/time.h>

#include "rpc/backup_directory.h"

namespace cairn {

BackupManifest restoreBackup(kj::StringPtr backup, kj::StringPtr directory, kj::Date now);
// Blocks. `directory` must be empty or not there. Verifies the whole backup before it writes anything, and
// the restored store afterwards. Throws, with a sentence for the user.

}  // namespace cairn
