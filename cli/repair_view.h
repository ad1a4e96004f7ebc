// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What repair is doing, as `cairn status` and `cairn drain` show it. Pure.
#pragma once

#include <string>

#include "cli/output.h"
#include "rpc/metaserver.capnp.h"

namespace cairn::cli {

void writeRepair(JsonWriter& json, rpc::RepairStatus::Reader repair);  // a member "repair"
std::string repairText(rpc::RepairStatus::Reader repair);  // whole lines; none when there is nothing to tell
std::string stateText(rpc::ServerStatus::Reader server);   // "up", "up, draining: 12 chunks left"
std::string scrubText(rpc::ScrubStatus::Reader scrub);     // "all within 2 h"
std::string humanDuration(uint64_t seconds);               // 45 s, 12 min, 5 h, 3 d
std::string progressBar(uint64_t done, uint64_t total);    // [#####.....]  50 %

}  // namespace cairn::cli
