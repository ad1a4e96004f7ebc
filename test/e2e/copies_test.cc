// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Copies that share chunks, on a real mount: cp and copy_file_range(2), what is shared and what is not, and
// that each side goes its own way afterwards.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

constexpr off_t MiB = 1 << 20;

class Copies : public EndToEnd {
 protected:
  struct Chunk {
    uint64_t handle = 0, references = 0;
  };
  std::vector<Chunk> chunksOf(LocalCluster& c, const std::string& name) {
    std::vector<Chunk> found;
    for (auto& chunk : c.json({"info", c / name}).at("chunks").items()) {
      found.push_back({chunk.at("handle").number(), chunk.at("references").number()});
    }
    return found;
  }
  std::string sum(LocalCluster& c, const std::string& name) { return c.sh("sha256sum < " + name).out; }
};

TEST_F(Copies, CpSharesTheChunksOfAFileAndAWriteToEitherSideLeavesTheOtherAsItWas) {
  auto& c = start();
  ASSERT_OK(c.sh("head -c 300M /dev/urandom > f", {.patience = 120s}));
  auto original = sum(c, "f");
  ASSERT_OK(c.sh("cp f g", {.patience = 60s}));
  EXPECT_EQ(sum(c, "g"), original);
  auto f = chunksOf(c, "f"), g = chunksOf(c, "g");
  ASSERT_EQ(f.size(), 5u);
  ASSERT_EQ(g.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(f[i].handle, g[i].handle) << i;
    EXPECT_EQ(f[i].references, 2u) << i;
  }
  EXPECT_EQ(c.sh("du -k f | cut -f1").out, c.sh("du -k g | cut -f1").out) << "each counts its blocks";

  ASSERT_OK(c.sh("printf written | dd of=g bs=1M seek=100 conv=notrunc status=none"));
  EXPECT_EQ(sum(c, "f"), original);
  g = chunksOf(c, "g");
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(f[i].handle == g[i].handle, i != 1) << i;
  EXPECT_EQ(c.sh("dd if=g bs=1M skip=100 count=1 status=none | head -c 7").out, "written");
  EXPECT_LE(std::stoi(c.sh("cmp -l f g | wc -l").out), 7) << "a written byte may be what was there";

  auto copy = sum(c, "g");
  ASSERT_OK(c.sh("printf more >> f && printf start | dd of=f conv=notrunc status=none"));
  EXPECT_EQ(sum(c, "g"), copy);
  ASSERT_OK(c.sh("rm f"));
  EXPECT_EQ(sum(c, "g"), copy) << "what it shared is not gone with the other";
  ASSERT_OK(c.sh("truncate -s 100M g && truncate -s 300M g"));
  EXPECT_EQ(c.sh("dd if=g bs=1M skip=100 status=none | tr -d '\\0' | wc -c").out, "0\n");
  c.down();
  ASSERT_OK(c.up());
  EXPECT_EQ(c.sh("stat -c %s g").out, "314572800\n");
}

TEST_F(Copies, HolesAndSmallFilesAndOddPlacesAreCopiedAsTheyAre) {
  auto& c = start();
  ASSERT_OK(
      c.sh("truncate -s 1G sparse && head -c 3M /dev/urandom | dd of=sparse bs=1M seek=500 "
           "conv=notrunc status=none && cp sparse copy && cmp sparse copy",
           {.patience = 120s}));
  EXPECT_EQ(c.sh("du -k copy | cut -f1").out, "3072\n");
  EXPECT_EQ(chunksOf(c, "copy").size(), 1u);
  ASSERT_OK(c.sh("echo small > small && cp small small2 && cmp small small2"));
  EXPECT_NE(chunksOf(c, "small")[0].handle, chunksOf(c, "small2")[0].handle) << "not worth sharing";

  // Anywhere to anywhere: as the same bytes through read and write.
  ASSERT_OK(c.sh("head -c 150M /dev/urandom > f", {.patience = 120s}));
  struct Case {
    off_t from, to;
    size_t length;
  };
  int in = ::open((c / "f").c_str(), O_RDONLY);
  ASSERT_GE(in, 0);
  int number = 0;
  for (auto& one : {Case{0, 0, 150 * MiB}, Case{64 * MiB, 0, 64 * MiB}, Case{1, 0, 70 * MiB},
                    Case{60 * MiB, 124 * MiB, 90 * MiB}, Case{64 * MiB, 64 * MiB, 100 * MiB},
                    Case{140 * MiB + 5, 3, 20 * MiB}}) {
    auto name = "t" + std::to_string(number++);
    SCOPED_TRACE(name);
    auto expected = c.scratch(name);
    for (bool before : {false, true}) {  // with and without something there already
      ASSERT_OK(c.sh("head -c " + std::string(before ? "170M" : "0") + " /dev/zero | tr '\\0' x > " + name +
                         " && cp " + name + " " + test::quoted(expected),
                     {.patience = 120s}));
      int out = ::open((c / name).c_str(), O_RDWR);
      ASSERT_GE(out, 0);
      off_t from = one.from, to = one.to;
      size_t left = one.length, copied = 0;
      while (left > 0) {
        auto done = ::copy_file_range(in, &from, out, &to, left, 0);
        ASSERT_GE(done, 0) << strerror(errno);
        if (done == 0) break;
        left -= size_t(done);
        copied += size_t(done);
      }
      ::close(out);
      EXPECT_EQ(copied, std::min(one.length, size_t(150 * MiB - one.from)));
      ASSERT_OK(c.sh("dd if=f of=" + test::quoted(expected) + " bs=1M iflag=skip_bytes,count_bytes skip=" +
                         std::to_string(one.from) + " count=" + std::to_string(one.length) +
                         " oflag=seek_bytes seek=" + std::to_string(one.to) +
                         " conv=notrunc status=none && cmp " + test::quoted(expected) + " " + name,
                     {.patience = 120s}));
    }
    ASSERT_OK(c.sh("rm " + name + " " + test::quoted(expected)));
  }
  ::close(in);
}

TEST_F(Copies, WhatWasWrittenAndNotClosedIsInTheCopyAndWhatWasSyncedSurvivesACrash) {
  auto& c = start();
  auto content = randomBytes(5'000'000, 3);
  int in = ::open((c / "f").c_str(), O_RDWR | O_CREAT, 0644);
  int out = ::open((c / "g").c_str(), O_RDWR | O_CREAT, 0644);
  ASSERT_GE(in, 0);
  ASSERT_GE(out, 0);
  ASSERT_EQ(::write(in, content.data(), content.size()), ssize_t(content.size()));
  off_t from = 0, to = 0;
  ASSERT_EQ(::copy_file_range(in, &from, out, &to, content.size(), 0), ssize_t(content.size()));
  EXPECT_EQ(chunksOf(c, "f")[0].handle, chunksOf(c, "g")[0].handle);
  ASSERT_EQ(::pwrite(in, "after", 5, 0), 5);
  ASSERT_EQ(::fsync(out), 0);
  ASSERT_EQ(::fsync(in), 0);
  ::close(in);
  ::close(out);
  c.killEverything();
  ASSERT_OK(c.up());
  EXPECT_TRUE(readFile(c / "g") == content);
  content.replace(0, 5, "after");
  EXPECT_TRUE(readFile(c / "f") == content);
}

}  // namespace
}  // namespace cairn::e2e
