// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// fio writes blocks of random size at random places, reads them and checks their CRC32C: with 1 and 8 jobs,
// through the kernel's cache and with O_DIRECT. CAIRN_FIO_SIZE (of all jobs together; 64m) makes it as long
// as one likes: CAIRN_FIO_SIZE=2g scripts/dev test 'Jobs/Fio.*'
#include <cstdlib>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

struct Shape {
  unsigned jobs;
  bool direct;
};
std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.jobs << (shape.direct ? "Direct" : "Buffered");
}

class Fio : public EndToEnd, public testing::WithParamInterface<Shape> {};

uint64_t bytesPerJob(unsigned jobs) {
  const char* text = std::getenv("CAIRN_FIO_SIZE");
  std::string size = text == nullptr ? "64m" : text;
  size_t digits = 0;
  auto bytes = std::stoull(size, &digits);
  for (char unit : std::string("kmg")) {
    bytes <<= 10;
    if (digits < size.size() && size[digits] == unit) return bytes / jobs;
  }
  throw std::runtime_error("CAIRN_FIO_SIZE is a number with k, m or g: " + size);
}

TEST_P(Fio, ReadsWhatItWrote) {
  auto& c = start();
  auto [jobs, direct] = GetParam();
  std::vector<std::string> words = {"fio",
                                    "--name=blocks",
                                    "--directory=" + c.mount(),
                                    "--rw=randrw",
                                    "--rwmixread=30",
                                    "--bsrange=4k-1m",
                                    "--size=" + std::to_string(bytesPerJob(jobs)),
                                    "--numjobs=" + std::to_string(jobs),
                                    "--direct=" + std::to_string(int(direct)),
                                    "--ioengine=psync",
                                    "--fallocate=none",
                                    "--verify=crc32c",
                                    "--verify_fatal=1",
                                    "--do_verify=1",
                                    "--verify_backlog=64",
                                    "--group_reporting",
                                    "--randseed=7"};
  auto finished =
      test::run(words, {.patience = std::chrono::seconds(120 + (bytesPerJob(jobs) * jobs >> 22))});
  EXPECT_TRUE(finished.ok()) << finished.describe();
  EXPECT_EQ((finished.out + finished.err).find("verify:"), std::string::npos) << finished.describe();
}

INSTANTIATE_TEST_SUITE_P(Jobs, Fio,
                         testing::Values(Shape{1, false}, Shape{1, true}, Shape{8, false}, Shape{8, true}),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace cairn::e2e
