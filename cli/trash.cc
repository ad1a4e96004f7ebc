// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn trash`: deleted files. A file in the trash is named by its inode's number, or by the path that it
// had.
#include <pwd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iostream>

#include "cli/cluster_target.h"
#include "cli/commands.h"
#include "cli/mounted_file.h"
#include "cli/operator_line.h"
#include "cli/output.h"
#include "env/daemon.h"

namespace cairn::cli {

namespace {

constexpr uint32_t PAGE = 1000;
constexpr uint32_t AS_CLUSTER = 0xffffffff;
constexpr int64_t SECOND = 1'000'000'000;

struct Discarded {
  // rpc/administration.capnp TrashedFile as a value.
  int64_t until = 0, deleted = 0;
  uint64_t inode = 0, size = 0, bytesUsed = 0;
  uint32_t uid = 0, owner = 0;
  std::string path;
  bool directoryGone = false;
};

bool isNumber(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

bool isBelow(const std::string& path, const std::string& top) {
  return top == "/" || path == top || path.starts_with(top + "/");
}

struct Subject {
  // What a word of the command line means: a number, or a path from the root of the filesystem.
  std::string metaserver;  // of the mount that the path lies in; empty: it says nothing of the cluster
  uint64_t inode = 0;
  std::string path;

  bool isFile(const Discarded& file) const { return inode != 0 ? file.inode == inode : file.path == path; }
  bool covers(const Discarded& file) const {
    return inode != 0 ? file.inode == inode : isBelow(file.path, path);
  }
};

Subject subjectOf(const std::string& word) {
  Subject subject;
  if (isNumber(word)) {
    subject.inode = std::stoull(word);
  } else if (auto found = pathInMount(word)) {
    subject.metaserver = found->metaservers.at(0);
    subject.path = found->path;
  } else if (word.starts_with("/")) {
    subject.path = word;  // as `cairn trash ls` shows it
    while (subject.path.size() > 1 && subject.path.back() == '/') subject.path.pop_back();
  } else {
    throw Failure(word + " is neither a number nor a path in a mounted CairnFS", ExitCode::USAGE);
  }
  return subject;
}

std::string metaserverOf(const ClusterChoice& choice, const Subject& subject) {
  bool said = !choice.dir.empty() || !choice.metaserver.empty();
  return !said && !subject.metaserver.empty() ? subject.metaserver : findCluster(choice).metaserver;
}

std::vector<Discarded> look(OperatorLine& cluster, const std::function<bool(const Discarded&)>& wanted) {
  std::vector<Discarded> files;
  int64_t until = 0;
  uint64_t inode = 0;
  for (bool more = true; more;) {
    auto page = cluster.ask("trash", CHANGE_PATIENCE, [&](rpc::Administration::Client& administration) {
      auto request = administration.trashRequest();
      request.setUntil(until);
      request.setInode(inode);
      request.setLimit(PAGE);
      return request.send();
    });
    if (!ok(page.getStatus()))
      throw Failure(std::string("the metaserver answers ") + kj::str(page.getStatus()).cStr());
    for (auto file : page.getFiles()) {
      until = file.getId().getUntil();
      inode = file.getId().getInode();
      Discarded one{until,           file.getDeleted(),     inode,
                    file.getSize(),  file.getBytesUsed(),   file.getUid(),
                    file.getOwner(), file.getPath().cStr(), file.getDirectoryGone()};
      if (wanted(one)) files.push_back(std::move(one));
    }
    more = page.getMore();
  }
  return files;
}

std::string userName(uint32_t uid) {
  auto* entry = getpwuid(uid);
  return entry == nullptr ? std::to_string(uid) : entry->pw_name;
}

std::string localTime(int64_t ns) {
  auto seconds = std::time_t(ns / SECOND);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &parts);
  return text;
}

std::string timeLeft(int64_t until) {
  auto left = (until - int64_t(std::time(nullptr)) * SECOND) / SECOND;
  if (left <= 0) return "now";
  if (left >= 2 * 24 * 3600) return std::to_string(left / (24 * 3600)) + " d";
  if (left >= 2 * 3600) return std::to_string(left / 3600) + " h";
  if (left >= 2 * 60) return std::to_string(left / 60) + " min";
  return std::to_string(left) + " s";
}

void write(JsonWriter& json, const Discarded& file) {
  json.beginObject().field("number", file.inode).field("path", file.path).field("deleted_ns", file.deleted);
  json.field("deleted_by", file.uid).field("owner", file.owner).field("size", file.size);
  json.field("bytes_used", file.bytesUsed).field("until_ns", file.until);
  json.field("directory_gone", file.directoryGone).endObject();
}

std::string keepText(uint32_t seconds) {
  return seconds == 0 ? "gone at once" : "kept for " + env::durationText(seconds);
}

}  // namespace

ExitCode listTrash(const TrashListOptions& options) {
  auto subject = options.path.empty() ? Subject{"", 0, "/"} : subjectOf(options.path);
  OperatorLine cluster(metaserverOf(options.cluster, subject));
  auto files = look(cluster, [&](const Discarded& file) { return subject.covers(file); });
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().key("files").beginArray();
    for (auto& file : files) write(json, file);
    std::cout << json.endArray().endObject().text() << '\n';
    return ExitCode::DONE;
  }
  if (files.empty()) {
    std::cout << "nothing is in the trash" << (options.path.empty() ? "" : " that was there") << '\n';
    return ExitCode::DONE;
  }
  Table table({"NUMBER", "DELETED", "BY", "SIZE", "GOES IN", "PATH"});
  uint64_t bytes = 0;
  for (auto& file : files) {
    bytes += file.bytesUsed;
    table.add({std::to_string(file.inode), localTime(file.deleted), userName(file.uid), humanBytes(file.size),
               timeLeft(file.until), file.path + (file.directoryGone ? "  (its directory is gone)" : "")});
  }
  std::cout << table.text() << plural(files.size(), "file") << ", " << humanBytes(bytes) << " of a copy\n";
  return ExitCode::DONE;
}

ExitCode restoreTrash(const TrashRestoreOptions& options) {
  namespace fs = std::filesystem;
  auto subject = subjectOf(options.what);
  MountedFile into;
  std::string name, shown;
  if (!options.to.empty()) {
    std::error_code error;
    auto target = fs::path(options.to);
    bool inside = fs::is_directory(target, error);
    if (!inside && !target.has_filename()) throw Failure(options.to + ": there is no such directory");
    auto parent = inside ? target : target.has_parent_path() ? target.parent_path() : fs::path(".");
    into = findMountedFile(parent.string());
    if (!inside) name = target.filename().string();
    shown = target.string();
    if (subject.metaserver.empty()) subject.metaserver = into.metaservers.at(0);
  }
  OperatorLine cluster(metaserverOf(options.cluster, subject));
  auto files = look(cluster, [&](const Discarded& file) { return subject.isFile(file); });
  if (files.empty()) throw Failure(options.what + " is not in the trash: `cairn trash ls` shows what is");
  auto& file =
      *std::max_element(files.begin(), files.end(), [](auto& a, auto& b) { return a.deleted < b.deleted; });
  auto answer = cluster.ask("restore", ANSWER_PATIENCE, [&](rpc::Administration::Client& administration) {
    auto request = administration.restoreRequest();
    request.initFile().setInode(file.inode);
    request.getFile().setUntil(file.until);
    request.setDirectory(into.inode);
    request.setName(name);
    return request.send();
  });
  if (shown.empty()) shown = file.path;
  switch (answer.getStatus()) {
    case Status::OK:
      break;
    case Status::EXISTS:
      throw Failure("there is a " + shown +
                    " again. Nothing was changed; move it away, or say another place with --to");
    case Status::STALE:
      throw Failure("the directory of " + shown +
                    " is gone. Nothing was changed; make it and say --to PATH, or another place");
    case Status::OVER_QUOTA:
      throw Failure("the quota there has no room for it. Nothing was changed");
    case Status::NOT_FOUND:
      throw Failure(file.path + " is not in the trash any more");
    default:
      throw Failure(std::string("the metaserver answers ") + kj::str(answer.getStatus()).cStr());
  }
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("restored", file.inode).field("path", file.path);
    std::cout << json.endObject().text() << '\n';
  } else {
    std::cout << file.path << " is back" << (options.to.empty() ? "" : ": " + shown) << '\n';
  }
  return ExitCode::DONE;
}

ExitCode purgeTrash(const TrashPurgeOptions& options) {
  bool all = options.all == TrashPurgeOptions::All::YES;
  if (options.what.empty() != all) {
    throw Failure("say what is to go: numbers or paths, or --all for everything", ExitCode::USAGE);
  }
  std::vector<Subject> subjects;
  for (auto& word : options.what) subjects.push_back(subjectOf(word));
  OperatorLine cluster(metaserverOf(options.cluster, all ? Subject() : subjects.at(0)));
  auto files = look(cluster, [&](const Discarded& file) {
    return all ||
           std::any_of(subjects.begin(), subjects.end(), [&](auto& subject) { return subject.covers(file); });
  });
  uint64_t purged = 0, bytes = 0;
  for (size_t start = 0; start < files.size(); start += PAGE) {
    auto count = std::min<size_t>(PAGE, files.size() - start);
    auto answer =
        cluster.ask("purgeTrash", CHANGE_PATIENCE, [&](rpc::Administration::Client& administration) {
          auto request = administration.purgeTrashRequest();
          auto list = request.initFiles(uint32_t(count));
          for (uint32_t i = 0; i < count; ++i) {
            list[i].setInode(files[start + i].inode);
            list[i].setUntil(files[start + i].until);
          }
          return request.send();
        });
    if (!ok(answer.getStatus()))
      throw Failure(std::string("the metaserver answers ") + kj::str(answer.getStatus()).cStr());
    purged += answer.getPurged();
  }
  for (auto& file : files) bytes += file.bytesUsed;
  if (files.empty() && !all) throw Failure("none of these is in the trash: `cairn trash ls` shows what is");
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("purged", purged).field("bytes", bytes);
    std::cout << json.endObject().text() << '\n';
  } else {
    std::cout << plural(purged, "file") << ", " << humanBytes(bytes)
              << " of a copy, left the trash for good\n";
  }
  return ExitCode::DONE;
}

ExitCode keepTrash(const TrashKeepOptions& options) {
  auto directory = findMountedFile(options.path);
  OperatorLine cluster(directory.metaservers.at(0));
  uint64_t directories = 0;
  if (!options.time.empty()) {
    bool asCluster = options.time == "default";
    auto problem = asCluster ? "" : env::durationProblem(options.time);
    if (!problem.empty()) throw Failure(problem, ExitCode::USAGE);
    auto answer = cluster.ask("keepTrash", CHANGE_PATIENCE, [&](rpc::Administration::Client& administration) {
      auto request = administration.keepTrashRequest();
      request.setDirectory(directory.inode);
      request.setSeconds(asCluster ? AS_CLUSTER : env::durationSeconds(options.time));
      request.setRecursive(options.below == TrashKeepOptions::Below::YES);
      return request.send();
    });
    directories = answer.getDirectories();
    if (!ok(answer.getStatus())) {
      throw Failure(options.path + ": the metaserver answers " + kj::str(answer.getStatus()).cStr());
    }
  }
  auto answer = cluster.ask("trashOf", ANSWER_PATIENCE, [&](rpc::Administration::Client& administration) {
    auto request = administration.trashOfRequest();
    request.setDirectory(directory.inode);
    return request.send();
  });
  if (!ok(answer.getStatus())) throw Failure(options.path + " is no directory");
  bool own = answer.getSeconds() != AS_CLUSTER;
  auto seconds = own ? answer.getSeconds() : answer.getCluster();
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("keep_s", seconds).field("own", own).field("directories", directories);
    std::cout << json.endObject().text() << '\n';
    return ExitCode::DONE;
  }
  std::cout << "what is deleted in " << options.path << " is " << keepText(seconds)
            << (own ? "" : ", as the cluster says")
            << (directories > 1
                    ? "; likewise in all " + std::to_string(directories - 1) + " directories below it"
                    : "")
            << '\n';
  return ExitCode::DONE;
}

}  // namespace cairn::cli
