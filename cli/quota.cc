// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn quota`: how much may be below a directory, and how much is.
#include <charconv>
#include <iostream>

#include "cli/cluster_target.h"
#include "cli/commands.h"
#include "cli/mounted_file.h"
#include "cli/operator_line.h"
#include "cli/output.h"

namespace cairn::cli {

namespace {

constexpr uint32_t PAGE = 1000;

struct View {
  std::string path;
  uint64_t directory = 0, bytesLimit = 0, inodesLimit = 0, bytes = 0, inodes = 0, trashBytes = 0,
           trashInodes = 0;
};

struct Count {
  bool running = false;
  uint64_t counted = 0;
};

uint64_t parseAmount(const std::string& text, bool bytes) {
  // 500, 10K, 10M, 10G, 10T, 10P: powers of 1024 of bytes, of 1000 of inodes.
  uint64_t number = 0;
  auto end = text.data() + text.size();
  auto parsed = std::from_chars(text.data(), end, number);
  std::string unit(parsed.ptr, end);
  if (unit.size() > 1 && (unit.ends_with("iB") || unit.ends_with("B"))) unit.resize(1);
  constexpr std::string_view UNITS = "KMGTP";
  auto power = unit.empty() ? 0 : UNITS.find(unit) == std::string_view::npos ? 99 : UNITS.find(unit) + 1;
  bool good = parsed.ec == std::errc() && power != 99 && parsed.ptr != text.data();
  for (size_t i = 0; good && i < power; ++i) {
    good = !__builtin_mul_overflow(number, bytes ? 1024u : 1000u, &number);
  }
  if (!good || number > uint64_t(INT64_MAX)) {
    throw Failure(
        "'" + text + "' is no amount: a number, with K, M, G, T or P behind it if you like; 0 for no limit",
        ExitCode::USAGE);
  }
  return number;
}

std::vector<View> look(OperatorLine& cluster, uint64_t directory, Count& count) {
  std::vector<View> views;
  uint64_t after = 0;
  for (bool more = true; more;) {
    auto answer = cluster.ask("quotas", CHANGE_PATIENCE, [&](rpc::Administration::Client& administration) {
      auto request = administration.quotasRequest();
      request.setDirectory(directory);
      request.setAfter(after);
      request.setLimit(PAGE);
      return request.send();
    });
    if (answer.getStatus() == Status::NO_DATA) return {};
    if (!ok(answer.getStatus())) {
      throw Failure(std::string("the metaserver answers ") + kj::str(answer.getStatus()).cStr());
    }
    count = {answer.getCounting(), answer.getCounted()};
    for (auto quota : answer.getQuotas()) {
      after = quota.getDirectory();
      views.push_back({quota.getPath().cStr(), quota.getDirectory(), quota.getBytesLimit(),
                       quota.getInodesLimit(), quota.getBytes(), quota.getInodes(), quota.getTrashBytes(),
                       quota.getTrashInodes()});
    }
    more = answer.getMore();
  }
  return views;
}

std::string ofLimit(uint64_t used, uint64_t limit) {
  if (limit == 0) return "-";
  return std::to_string((used * 100.0 + limit / 2.0) / limit).substr(0, 5) + " %";
}

void print(const std::vector<View>& views, const Count& count, Format format) {
  if (format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("counting", count.running).field("counted", count.counted);
    json.key("quotas").beginArray();
    for (auto& view : views) {
      json.beginObject().field("path", view.path).field("directory", view.directory);
      json.field("bytes_limit", view.bytesLimit).field("inodes_limit", view.inodesLimit);
      json.field("bytes", view.bytes).field("inodes", view.inodes);
      json.field("trash_bytes", view.trashBytes).field("trash_inodes", view.trashInodes).endObject();
    }
    std::cout << json.endArray().endObject().text() << '\n';
    return;
  }
  Table table({"DIRECTORY", "BYTES", "LIMIT", "USED", "INODES", "LIMIT", "USED", "IN TRASH"});
  for (auto& view : views) {
    table.add({view.path, humanBytes(view.bytes), view.bytesLimit == 0 ? "none" : humanBytes(view.bytesLimit),
               ofLimit(view.bytes, view.bytesLimit), std::to_string(view.inodes),
               view.inodesLimit == 0 ? "none" : std::to_string(view.inodesLimit),
               ofLimit(view.inodes, view.inodesLimit),
               plural(view.trashInodes, "file") + ", " + humanBytes(view.trashBytes)});
  }
  std::cout << table.text();
  if (count.running) {
    std::cout << "The tree is being counted, " << plural(count.counted, "inode")
              << " so far: until that is done, nobody is refused.\n";
  }
}

}  // namespace

ExitCode setQuota(const QuotaSetOptions& options) {
  auto directory = findMountedFile(options.path);
  OperatorLine cluster(directory.metaservers.at(0));
  Count count;
  auto before = look(cluster, directory.inode, count);
  bool clear = options.what == QuotaSetOptions::What::CLEAR;
  if (!clear && !options.bytes && !options.inodes) {
    throw Failure("say how much: --bytes N, --inodes N, or both", ExitCode::USAGE);
  }
  uint64_t bytes = before.empty() || clear ? 0 : before[0].bytesLimit;
  uint64_t inodes = before.empty() || clear ? 0 : before[0].inodesLimit;
  if (options.bytes) bytes = parseAmount(*options.bytes, true);
  if (options.inodes) inodes = parseAmount(*options.inodes, false);
  auto answer = cluster.ask("setQuota", ANSWER_PATIENCE, [&](rpc::Administration::Client& administration) {
    auto request = administration.setQuotaRequest();
    request.setDirectory(directory.inode);
    request.setBytes(bytes);
    request.setInodes(inodes);
    return request.send();
  });
  if (answer.getStatus() == Status::NOT_DIRECTORY) throw Failure(options.path + " is no directory");
  if (!ok(answer.getStatus())) {
    throw Failure(options.path + ": the metaserver answers " + kj::str(answer.getStatus()).cStr());
  }
  auto after = look(cluster, directory.inode, count);
  if (after.empty() && options.format == Format::TEXT) {
    std::cout << options.path << " has no quota\n";
  } else {
    print(after, count, options.format);
  }
  return ExitCode::DONE;
}

ExitCode getQuota(const QuotaGetOptions& options) {
  auto directory = findMountedFile(options.path);
  OperatorLine cluster(directory.metaservers.at(0));
  Count count;
  auto views = look(cluster, directory.inode, count);
  if (views.empty()) throw Failure(options.path + " has no quota of its own");
  print(views, count, options.format);
  return ExitCode::DONE;
}

ExitCode listQuotas(const QuotaListOptions& options) {
  OperatorLine cluster(findCluster(options.cluster).metaserver);
  Count count;
  auto views = look(cluster, 0, count);
  if (views.empty() && options.format == Format::TEXT) {
    std::cout << "no directory has a quota\n";
  } else {
    print(views, count, options.format);
  }
  return ExitCode::DONE;
}

}  // namespace cairn::cli
