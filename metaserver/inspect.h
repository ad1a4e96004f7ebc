// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn-metaserver inspect DIR`: what is in a metaserver's directory, as text or JSON. Changes nothing, and
// works on a directory that is in use or damaged. Called by main.cc.
#pragma once

#include <kj/string.h>

#include "metaserver/inspect_metadata.h"

namespace cairn {

int inspectDirectory(kj::StringPtr directory, InspectFormat format);
// Prints to stdout; answers the exit code. Throws sentences for the user.

}  // namespace cairn
