// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Attributes as they come from the metaserver, in the words of filesystem.h.
#pragma once

#include "client/filesystem.h"
#include "rpc/metaserver.capnp.h"

namespace cairn::client {

inline FileAttributes readAttributes(rpc::Attributes::Reader reader) {
  FileAttributes attributes;
  attributes.inode = InodeId(reader.getInode());
  attributes.type = reader.getType();
  attributes.mode = reader.getMode();
  attributes.uid = reader.getUid();
  attributes.gid = reader.getGid();
  attributes.links = reader.getLinks();
  attributes.device = reader.getDevice();
  attributes.size = reader.getSize();
  attributes.bytesUsed = reader.getBytesUsed();
  attributes.atime = {reader.getAtime()};
  attributes.mtime = {reader.getMtime()};
  attributes.ctime = {reader.getCtime()};
  attributes.dataVersion = reader.getDataVersion();
  attributes.extended = reader.getExtended();
  attributes.lease = reader.getLease();
  attributes.stamp = reader.getStamp();
  attributes.unsure = reader.getUnsure();
  return attributes;
}

}  // namespace cairn::client
