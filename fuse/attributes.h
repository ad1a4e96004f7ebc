// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Attributes as the kernel says them (struct stat, FUSE_SET_ATTR bits) and as the client library says them.
// Pure. Called by the handlers.
#pragma once

#include <sys/stat.h>

#include "client/filesystem.h"

namespace cairn::fuse {

struct stat statOf(const FileAttributes& attributes);
FileType typeOf(mode_t mode);
mode_t typeBitsOf(FileType type);

AttributeChange changeOf(const struct stat& wanted, int toSet);  // toSet: FUSE_SET_ATTR_*

enum class OfGroup { NO, YES };
uint16_t withoutPrivileges(uint16_t mode, OfGroup caller);
// What a write, truncate or chown by someone without CAP_FSETID leaves of a mode: no setuid, and no setgid
// where the group may execute (elsewhere the bit means mandatory locking, not a privilege) or the caller is
// neither of the file's group nor root: Linux, setattr_should_drop_sgid().

}  // namespace cairn::fuse
