// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The snapshot of a large tree that is being made, as `cairn status` shows it. Pure.
#pragma once

#include <string>

#include "cli/output.h"
#include "rpc/metaserver.capnp.h"

namespace cairn::cli {

void writeSnapshot(JsonWriter& json, rpc::SnapshotStatus::Reader snapshot);  // a member "snapshot"
std::string snapshotText(rpc::SnapshotStatus::Reader snapshot);  // a line; none when there is none

}  // namespace cairn::cli
