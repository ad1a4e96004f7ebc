// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The one way to include libfuse: every file sees the same API version. Builds with 3.14 (Debian 12) and 3.17
// (13).
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
