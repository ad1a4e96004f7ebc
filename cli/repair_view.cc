// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/repair_view.h"

#include <algorithm>

namespace cairn::cli {

std::string humanDuration(uint64_t seconds) {
  constexpr uint64_t MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  if (seconds < 2 * MINUTE) return std::to_string(seconds) + " s";
  if (seconds < 2 * HOUR) return std::to_string(seconds / MINUTE) + " min";
  if (seconds < 2 * DAY) return std::to_string(seconds / HOUR) + " h";
  return std::to_string(seconds / DAY) + " d";
}

std::string progressBar(uint64_t done, uint64_t total) {
  constexpr uint64_t WIDTH = 30;
  auto share = total == 0 ? WIDTH : std::min(done, total) * WIDTH / total;
  auto percent = total == 0 ? 100 : std::min(done, total) * 100 / total;
  auto number = std::to_string(percent);
  return "[" + std::string(share, '#') + std::string(WIDTH - share, '.') + "] " +
         std::string(3 - std::min<size_t>(3, number.size()), ' ') + number + " %";
}

void writeRepair(JsonWriter& json, rpc::RepairStatus::Reader repair) {
  json.key("repair").beginObject();
  json.field("last_copy", repair.getLastCopy()).field("blocking", repair.getBlocking());
  json.field("under", repair.getUnder())
      .field("waiting", repair.getWaiting())
      .field("stuck", repair.getStuck());
  json.field("stuck_because", std::string(repair.getStuckBecause().cStr()));
  json.field("moving", repair.getMoving()).field("excess", repair.getExcess());
  json.field("copying", repair.getCopying()).field("bytes_per_second", repair.getBytesPerSecond());
  json.field("bytes_left", repair.getBytesLeft()).field("eta_s", repair.getEtaS());
  json.field("copied", repair.getCopied()).field("copied_bytes", repair.getCopiedBytes());
  json.field("failed", repair.getFailed()).field("surveyed", bool(repair.getSurveyed()));
  json.endObject();
}

std::string repairText(rpc::RepairStatus::Reader repair) {
  std::string text;
  auto lacking = repair.getLastCopy() + repair.getBlocking() + repair.getUnder();
  if (repair.getLastCopy() > 0) {
    text += "ONE COPY LEFT of " + plural(repair.getLastCopy(), "chunk") + "\n";
  }
  if (lacking + repair.getMoving() > 0 || repair.getCopying() > 0) {
    text += "repair: " + plural(lacking, "chunk") + " to be copied";
    if (repair.getWaiting() > 0) {
      text += " (" + std::to_string(repair.getWaiting()) + " not yet: a daemon that is away may come back)";
    }
    if (repair.getMoving() > 0) text += ", " + std::to_string(repair.getMoving()) + " to be moved";
    text += "; " + plural(repair.getCopying(), "copy") + " under way, " +
            humanBytes(repair.getBytesPerSecond()) + "/s, " + humanBytes(repair.getBytesLeft()) + " to go";
    if (repair.getEtaS() > 0) text += ", done in about " + humanDuration(repair.getEtaS());
    text += "\n";
  }
  if (repair.getStuck() > 0) {
    text += "REPAIR CANNOT GO ON for " + plural(repair.getStuck(), "chunk") + ": " +
            repair.getStuckBecause().cStr() + "\n";
  }
  if (repair.getExcess() > 0) text += plural(repair.getExcess(), "chunk") + " with more copies than wanted\n";
  return text;
}

std::string stateText(rpc::ServerStatus::Reader server) {
  std::string text = server.getState().cStr();
  if (!server.getDraining()) return text;
  if (server.getLeaving() == 0) return text + ", drained";
  return text + ", draining: " + std::to_string(server.getLeaving()) + " left";
}

std::string scrubText(rpc::ScrubStatus::Reader scrub) {
  if (scrub.getRate() == 0) return "not";
  auto text = "all within " + humanDuration(scrub.getOldestS());
  if (scrub.getDamaged() > 0) text += ", " + std::to_string(scrub.getDamaged()) + " damaged";
  return text;
}

}  // namespace cairn::cli
