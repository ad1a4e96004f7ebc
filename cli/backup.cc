// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn backup`, `cairn checkpoint`: the metaserver's own storage, while it runs. The metaserver makes an
// image of its namespace, which is fetched from it piece by piece: so a backup may be taken to another
// machine.
#include <iostream>

#include "cli/cluster_target.h"
#include "cli/commands.h"
#include "cli/operator_line.h"
#include "cli/output.h"
#include "env/checksum.h"
#include "rpc/backup_directory.h"

namespace cairn::cli {

namespace {

constexpr kj::Duration IMAGE_PATIENCE = 1 * kj::HOURS;  // every block of a large namespace is read
constexpr kj::Duration PIECE_PATIENCE = 60 * kj::SECONDS;

class Backup {
 public:
  Backup(OperatorLine& cluster, const std::string& target) : cluster(cluster), target(target) {}

  BackupManifest run() {
    BackupWriter writer(target.c_str());  // refuses before anybody has to work for it
    auto taken = cluster.ask("image", IMAGE_PATIENCE, [](rpc::Administration::Client& administration) {
      return administration.imageRequest().send();
    });
    if (taken.getStatus() == Status::BUSY)
      throw Failure("another backup is under way: try again when it has ended");
    require(taken.getStatus());
    auto image = taken.getImage();
    auto description = cluster.ask("describe", ANSWER_PATIENCE, [&](rpc::Administration::Client&) {
      return image.describeRequest().send();
    });
    BackupManifest manifest;
    KJ_IF_MAYBE (id, parseClusterId(description.getCluster())) manifest.cluster = *id;
    manifest.operation = LogIndex(description.getOperation());
    manifest.epoch = Epoch(description.getEpoch());
    manifest.inodes = description.getInodes();
    manifest.chunks = description.getChunks();
    manifest.taken = description.getTaken();
    uint32_t number = 0;
    for (auto file : description.getFiles()) {
      writer.begin(file.getName());
      fetch(image, number++, file.getSize(), writer);
    }
    writer.finish(manifest);
    return manifest;
  }
  uint64_t bytes() const { return fetched; }

 private:
  OperatorLine& cluster;
  std::string target;
  uint64_t fetched = 0;

  static void require(Status status) {
    if (!ok(status)) throw Failure(std::string("the metaserver answers ") + kj::str(status).cStr());
  }

  void fetch(rpc::Image::Client& image, uint32_t number, uint64_t size, BackupWriter& writer) {
    for (uint64_t at = 0; at < size;) {
      auto piece = cluster.ask("read", PIECE_PATIENCE, [&](rpc::Administration::Client&) {
        auto request = image.readRequest();
        request.setFile(number);
        request.setOffset(at);
        request.setSize(BACKUP_PIECE_SIZE);
        return request.send();
      });
      require(piece.getStatus());
      auto bytes = piece.getData();
      if (bytes.size() == 0 || env::crc32c(bytes) != piece.getChecksum()) {
        throw Failure("a piece of the image arrived damaged: the backup is not complete, remove " + target +
                      " and try again");
      }
      writer.append(bytes);
      at += bytes.size();
      fetched += bytes.size();
    }
  }
};

}  // namespace

ExitCode backup(const BackupOptions& options) {
  OperatorLine cluster(findCluster(options.cluster).metaserver);
  Backup backup(cluster, options.target);
  BackupManifest manifest;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { manifest = backup.run(); })) {
    throw Failure(exception->getDescription().cStr());
  }
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("backup", options.target).field("cluster", kj::str(manifest.cluster).cStr());
    json.field("operation", manifest.operation.value()).field("inodes", manifest.inodes);
    json.field("chunks", manifest.chunks).field("bytes", backup.bytes()).endObject();
    std::cout << json.text() << '\n';
  } else {
    std::cout << "backup of cluster " << kj::str(manifest.cluster).cStr() << " as of operation "
              << manifest.operation.value() << ": " << plural(manifest.inodes, "inode") << ", "
              << plural(manifest.chunks, "chunk") << ", " << humanBytes(backup.bytes()) << " -> "
              << options.target << "\nTo restore it: cairn-metaserver restore --dir NEW " << options.target
              << '\n';
  }
  return ExitCode::DONE;
}

ExitCode checkpoint(const CheckpointOptions& options) {
  OperatorLine cluster(findCluster(options.cluster).metaserver);
  auto done = cluster.ask("checkpoint", IMAGE_PATIENCE, [](rpc::Administration::Client& administration) {
    return administration.checkpointRequest().send();
  });
  if (!ok(done.getStatus())) {
    throw Failure(std::string("the metaserver answers ") + kj::str(done.getStatus()).cStr() +
                  "; see its log");
  }
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject()
        .field("operation", done.getOperation())
        .field("segments", done.getSegments())
        .endObject();
    std::cout << json.text() << '\n';
  } else {
    std::cout << "all operations up to " << done.getOperation() << " are in the namespace store\n";
  }
  return ExitCode::DONE;
}

}  // namespace cairn::cli
