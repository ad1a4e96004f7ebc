// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn-metaserver inspect` shows a log and a namespace, whole or damaged, and changes nothing.
#include <capnp/compat/json.h>

#include <string>

#include "metaserver/inspect_metadata.h"
#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

struct InspectTest : testing::Test {
  ~InspectTest() noexcept override {}
  MetadataWorld world;
  kj::Own<const kj::Directory> directory = kj::newInMemoryDirectory(kj::nullClock());

  void fill() {
    world.start();
    Client client(world);
    client.symlink(client.directory(ROOT_INODE, "a \"quoted\" name"), "link", "target");
    client.setXattr(ROOT_INODE, "user.key", "value");
    world.theNames().flush();
    ASSERT_EQ(world.sync(), Status::OK);
    client.file(ROOT_INODE, "last");
    world.kill();
    copy();
  }
  void copy() {
    for (auto& name : world.disk.list("log").wait(world.scope).names) {
      directory->openFile(kj::Path(kj::str(name)), kj::WriteMode::CREATE | kj::WriteMode::MODIFY)
          ->writeAll(world.disk.contents(kj::str("log/", name)));
    }
  }
  std::string inspect(InspectFormat format) {
    kj::VectorOutputStream out;
    inspectMetadata(*directory, "/names", world.rocksEnv.get(), format, out);
    auto text = out.getArray();
    return std::string(text.asChars().begin(), text.size());
  }
  bool shows(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }
};

TEST_F(InspectTest, TextShowsEveryOperationAndEveryRecord) {
  fill();
  auto text = inspect(InspectFormat::TEXT);
  EXPECT_TRUE(shows(text, "log segment 0000000000000001.log")) << text;
  EXPECT_TRUE(shows(text, "name = \"last\"")) << text;
  EXPECT_TRUE(shows(text, "a \\\"quoted\\\" name -> inode 2")) << text;
  EXPECT_TRUE(shows(text, "symlink 3 -> target")) << text;
  EXPECT_TRUE(shows(text, "xattr of 1 user.key = value")) << text;
  EXPECT_FALSE(shows(text, "PROBLEM")) << text;
}

TEST_F(InspectTest, JsonIsJson) {
  fill();
  auto text = inspect(InspectFormat::JSON);
  capnp::MallocMessageBuilder message;
  auto value = message.initRoot<capnp::JsonValue>();
  capnp::JsonCodec().decodeRaw(kj::arrayPtr(text.data(), text.size()), value);
  ASSERT_TRUE(value.isObject());
  auto object = value.getObject();
  ASSERT_EQ(object.size(), 2u);
  EXPECT_EQ(kj::str(object[0].getName()), "log");
  EXPECT_EQ(object[0].getValue().getArray().size(), 1u);
  EXPECT_EQ(kj::str(object[1].getName()), "names");
  EXPECT_GT(object[1].getValue().getArray().size(), 5u);
}

TEST_F(InspectTest, DamageIsNamed) {
  fill();
  world.disk.flipBit("log/0000000000000001.log", 100 * 8);
  auto bytes = world.disk.contents("log/0000000000000001.log");
  copy();
  auto text = inspect(InspectFormat::TEXT);
  EXPECT_TRUE(shows(text, "PROBLEM in 0000000000000001.log: damaged at byte 64")) << text;
  directory->openFile(kj::Path("0000000000000009.log"), kj::WriteMode::CREATE)->writeAll("junk");
  text = inspect(InspectFormat::JSON);
  EXPECT_TRUE(shows(text, "\"problem\": \"no readable header\"")) << text;
  world.rocksEnv->DeleteFile("/names/CURRENT");
  EXPECT_TRUE(shows(inspect(InspectFormat::TEXT),
                    "PROBLEM: the namespace store in /names is damaged: its file CURRENT is missing"));
}

}  // namespace
}  // namespace cairn
