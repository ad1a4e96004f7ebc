// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn info PATH`: where the chunks of a file are. The path is looked at through the mount it lies in,
// which names the metaserver; everything else comes from there.
#include <kj/debug.h>
#include <sys/stat.h>

#include <cstring>
#include <iostream>

#include "cli/commands.h"
#include "cli/metaserver_line.h"
#include "cli/mounted_file.h"
#include "cli/output.h"
#include "cli/store_views.h"

namespace cairn::cli {

namespace {

constexpr kj::Duration ANSWER_PATIENCE = 10 * kj::SECONDS;
constexpr uint32_t CHUNKS_PER_CALL = 1000;  // as many as the metaserver answers at once

std::string str(capnp::Text::Reader text) {
  return std::string(text.begin(), text.size());
}

void writeChunk(JsonWriter& json, rpc::ChunkDetail::Reader chunk, const StoreViews& views) {
  json.beginObject().field("index", chunk.getIndex()).field("handle", chunk.getChunk().getHandle());
  json.field("version", chunk.getChunk().getVersion()).field("primary", chunk.getPrimary());
  json.field("lease_ms", chunk.getLeaseMs()).field("references", chunk.getReferences());
  json.key("replicas").beginArray();
  for (auto replica : chunk.getReplicas()) {
    json.beginObject().field("server", replica.getServer()).field("address", str(replica.getAddress()));
    auto view = views.of(str(replica.getAddress()), chunk.getChunk().getHandle());
    json.field("version", replica.getVersion()).field("length", view ? view->length : replica.getLength());
    json.field("state", str(replica.getState())).field("store", view ? view->state : "silent").endObject();
  }
  json.endArray().endObject();
}

void printChunk(rpc::ChunkDetail::Reader chunk, const StoreViews& views) {
  std::cout << "chunk " << chunk.getIndex() << ": handle " << chunk.getChunk().getHandle() << ", version "
            << chunk.getChunk().getVersion();
  if (chunk.getPrimary() == 0) {
    std::cout << ", no lease is out";
  } else {
    std::cout << ", primary " << chunk.getPrimary() << " for another " << (chunk.getLeaseMs() + 999) / 1000
              << " s";
  }
  if (chunk.getReferences() > 1) std::cout << ", shared by " << plural(chunk.getReferences(), "file");
  std::cout << '\n';
  for (auto replica : chunk.getReplicas()) {
    auto view = views.of(str(replica.getAddress()), chunk.getChunk().getHandle());
    std::cout << "    replica on " << replica.getServer() << " at " << str(replica.getAddress())
              << ", version " << replica.getVersion() << ", " << str(replica.getState()) << ", "
              << (view ? humanBytes(view->length) + ", " + view->state : "the store does not answer") << '\n';
  }
  if (chunk.getReplicas().size() == 0) std::cout << "    no replica is known\n";
}

}  // namespace

ExitCode info(const InfoOptions& options) {
  auto file = findMountedFile(options.path);
  auto io = kj::setupAsyncIo();
  MetaserverLine line(io, file.metaservers.at(0));
  StoreViews views(line.peers());
  JsonWriter json;
  json.beginObject().field("path", options.path).field("inode", file.inode);
  bool more = true, first = true;
  for (uint64_t next = 0; more; first = false) {
    auto answer =
        line.ask(io.waitScope, "describeFile", ANSWER_PATIENCE, [&](rpc::Metaserver::Client& metaserver) {
          auto request = metaserver.describeFileRequest();
          request.setInode(file.inode);
          request.setFirst(next);
          request.setCount(CHUNKS_PER_CALL);
          return request.send();
        });
    if (!ok(answer.getStatus())) {
      throw Failure(options.path + ": the metaserver answers " + kj::str(answer.getStatus()).cStr());
    }
    auto attributes = answer.getAttributes();
    if (first && options.format == Format::JSON) {
      json.field("size", attributes.getSize()).field("metaserver", file.metaservers[0]);
      json.field("wanted_replicas", attributes.getReplicas()).key("chunks").beginArray();
    } else if (first) {
      std::cout << options.path << ": inode " << file.inode << ", " << humanBytes(attributes.getSize())
                << ", " << plural(attributes.getReplicas(), "replica") << " wanted, metaserver "
                << file.metaservers[0] << '\n';
    }
    views.look(answer.getChunks()).wait(io.waitScope);
    for (auto chunk : answer.getChunks()) {
      options.format == Format::JSON ? writeChunk(json, chunk, views) : printChunk(chunk, views);
      next = chunk.getIndex() + 1;
    }
    more = answer.getMore() && answer.getChunks().size() > 0;
  }
  if (options.format == Format::JSON) std::cout << json.endArray().endObject().text() << '\n';
  std::cout << std::flush;
  return ExitCode::DONE;
}

}  // namespace cairn::cli
