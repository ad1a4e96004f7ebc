// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The promise of cache leases, tried at random: several mounts that cache, buffer writes, hang, are fenced,
// come back late and lose their metaserver, on a network that delays and reorders. Whatever a mount answers a
// program, from its cache or not, is not older than any operation that had been completed anywhere when the
// program asked. The mounts here are a few lines each: what rpc/metaserver.capnp asks of a client, and
// nothing more. One seed, one story; `LEASE_SEED=n` tells it again, `LEASE_STORIES=n` tells so many.
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <stdlib.h>

#include <deque>
#include <functional>
#include <random>

#include "metaserver/cache_leases.h"

namespace cairn {
namespace {

constexpr uint32_t FILES = 4, MOUNTS = 4;
constexpr auto MS = kj::MILLISECONDS;

struct Content {
  // Of a file: its writes are numbered by whoever is its authority.
  uint64_t version = 0, write = 0;
};

class Story {
 public:
  explicit Story(uint64_t seed) : random(seed) { restart(); }

  void tell(kj::Duration duration) {
    for (uint32_t i = 0; i < MOUNTS; ++i) {
      mounts.emplace_back();
      auto& mount = mounts.back();
      mount.number = i;
      mount.clockPercent = 98 + draw(5);  // of true time: within CLOCK_ERROR_MAX over a term
      begin(mount);
      act(mount);
      renewLater(mount);
    }
    watch();
    auto end = now + duration;
    if (restarts) after(draw(20'000) * MS, [this]() { crash(); });
    while (!events.empty() && events.begin()->first.first <= end) {
      auto next = events.extract(events.begin());
      now = next.key().first;
      next.mapped()();
    }
  }

  uint64_t hits = 0, misses = 0, buffered = 0, changes = 0, losses = 0, fences = 0;
  bool restarts = false;
  kj::Vector<kj::String> wrong;

 private:
  struct Entry {
    LeaseKind kind = LeaseKind::NONE;
    LeaseStamp stamp, recalled;  // of the lease, of the last recall
    LeaseStamp told;             // of the content, if another is its authority
    Content content;
    bool dirty = false, recalling = false;
  };
  struct Mount {
    uint32_t number = 0;
    int64_t clockPercent = 100;
    SessionId session;
    uint64_t incarnation = 0;  // of its session object: calls of an older one get no answer
    LeaseStamp voidUpTo;
    kj::TimePoint renewed = kj::origin<kj::TimePoint>();  // when the renewing call was sent
    kj::TimePoint hangs = kj::origin<kj::TimePoint>();    // until
    Entry files[FILES];
    bool attached = false;
  };
  struct Answer {
    bool ok = false;
    Content content;
    LeaseGrant grant;
  };
  using Then = std::function<void(Answer)>;

  std::mt19937_64 random;
  kj::TimePoint now = kj::origin<kj::TimePoint>();
  std::map<std::pair<kj::TimePoint, uint64_t>, std::function<void()>> events;
  uint64_t eventCount = 0;
  std::deque<Mount> mounts;

  // The metaserver.
  std::unique_ptr<CacheLeases> leases;
  uint64_t epoch = 0;
  uint64_t sessions = 0;
  std::map<SessionId, kj::TimePoint> heard;  // those there are, and when their last call came
  Content files[FILES];                      // applied
  uint64_t proposed[FILES] = {};             // versions
  std::set<uint64_t> changed;                // writes that were changes, and have been proposed
  kj::TimePoint logTime = kj::origin<kj::TimePoint>();
  std::map<ClaimId, std::function<void()>> waiting;
  bool wasKnown = true;

  // What is right.
  uint64_t completed[FILES] = {};             // version of the last completed operation
  std::map<uint64_t, uint64_t> truth[FILES];  // version -> write
  uint64_t writes = 0;

  uint64_t draw(uint64_t below) { return random() % below; }
  bool chance(uint32_t percent) { return draw(100) < percent; }
  void after(kj::Duration delay, std::function<void()> event) {
    events.emplace(std::make_pair(now + delay, ++eventCount), kj::mv(event));
  }
  kj::Duration transit() { return (chance(5) ? draw(400) : draw(8)) * MS; }
  void fail(kj::String text) {
    if (wrong.size() < 5) wrong.add(kj::mv(text));
  }
  static InodeId inodeOf(uint32_t file) { return InodeId(file + 1); }
  static uint32_t fileOf(InodeId inode) { return uint32_t(inode.value() - 1); }

  // ---------------------------------------------------------------------------------------- the metaserver

  void restart() {
    ++epoch;
    leases = std::make_unique<CacheLeases>(CacheLeases::Start{Epoch(epoch), InodeId(100), now});
    waiting.clear();
    for (auto& mount : mounts) {
      mount.attached = false;
      if (heard.count(mount.session) > 0) leases->restored(mount.session);
    }
    for (auto& [id, when] : heard) when = now;
    wasKnown = leases->known();
    settle();
  }
  void crash() {
    restart();
    for (auto& mount : mounts) attachLater(mount);
    after((5'000 + draw(60'000)) * MS, [this]() { crash(); });
  }

  void settle() {
    leases->checkInvariants();
    auto actions = leases->take();
    for (auto& recall : actions.recalls) {
      for (auto& mount : mounts) {
        if (mount.session == recall.session)
          toMount(mount, [this, &mount, recall]() { recalled(mount, recall); });
      }
    }
    for (auto claim : actions.ready) {
      auto found = waiting.find(claim);
      if (found == waiting.end()) continue;
      after(0 * MS, kj::mv(found->second));
      waiting.erase(found);
    }
    for (auto inode : actions.unclean) {
      after(draw(200) * MS, [this, inode, lifetime = epoch]() {
        if (lifetime != epoch) return;
        leases->fenced(inode, now);
        settle();
      });
    }
    for (auto id : actions.lost) lost(id);
    for (auto id : actions.unresponsive) fence(id);
    if (leases->known() && !wasKnown) {
      for (auto& mount : mounts) {
        if (!mount.attached) lost(mount.session);
      }
    }
    wasKnown = leases->known();
    auto next = leases->next();
    KJ_IF_MAYBE (at, next) {
      after(kj::max(*at - now, 0 * MS), [this, lifetime = epoch]() {
        auto still = leases->next();
        if (lifetime != epoch || still == nullptr || KJ_ASSERT_NONNULL(still) > now) return;
        leases->tick(now);
        settle();
      });
    }
  }
  void lost(SessionId id) {
    // What it had not sent is lost, and this is when.
    for (auto& mount : mounts) {
      if (mount.session != id) continue;
      for (uint32_t file = 0; file < FILES; ++file) forgetBuffered(mount, file);
    }
  }
  void forgetBuffered(Mount& mount, uint32_t file) {
    auto& entry = mount.files[file];
    if (!entry.dirty) return;
    entry.dirty = false;
    ++losses;
    completed[file] = kj::min(completed[file], proposed[file]);
    truth[file].erase(truth[file].upper_bound(proposed[file]), truth[file].end());
  }
  void watch() {
    after(1000 * MS, [this]() {
      std::vector<SessionId> silent;
      for (auto [id, when] : heard) {
        if (now - when >= SESSION_TERM) silent.push_back(id);
      }
      for (auto id : silent) fence(id);
      watch();
    });
  }
  void fence(SessionId id) {
    if (heard.erase(id) == 0) return;
    ++fences;
    leases->ended(id, CacheLeases::End::FENCED, now);
    settle();
  }
  void inLog(std::function<void()> apply) {
    // In the order of the proposals.
    logTime = kj::max(logTime, now + draw(3) * MS);
    events.emplace(std::make_pair(logTime, ++eventCount), kj::mv(apply));
  }
  void claim(SessionId id, uint32_t file, Wish wish, std::function<void(ClaimId)> ready) {
    InodeId inode = inodeOf(file);
    auto claim = leases->claim(id, kj::arrayPtr(&inode, 1), wish, now);
    auto then = [this, claim, ready = kj::mv(ready), lifetime = epoch]() {
      if (lifetime == epoch) ready(claim);
    };
    if (leases->isReady(claim)) {
      after(0 * MS, kj::mv(then));
    } else {
      waiting[claim] = kj::mv(then);
    }
    settle();
  }
  void finish(ClaimId claim) {
    leases->done(claim, now);
    settle();
  }
  Answer answerOf(SessionId id, uint32_t file, LeaseKind most = LeaseKind::READ) {
    return {true, files[file], leases->grant(id, inodeOf(file), most, now)};
  }
  void serveRead(SessionId id, uint32_t file, LeaseKind most, Then reply) {
    auto writer = leases->writerBeside(id, inodeOf(file));
    if (writer == nullptr && (leases->known() || leases->mayWrite(id, inodeOf(file)))) {
      reply(answerOf(id, file, most));
      settle();
      return;
    }
    auto fallBack = [this, id, file, reply]() {
      claim(id, file, Wish::READ, [this, id, file, reply](ClaimId claim) {
        reply(answerOf(id, file));
        finish(claim);
      });
    };
    if (writer == nullptr) return fallBack();
    auto asked = KJ_ASSERT_NONNULL(writer);
    for (auto& mount : mounts) {
      if (mount.session != asked.session) continue;
      auto answered = std::make_shared<bool>(false);
      toMount(mount, [this, &mount, id, file, asked, answered, reply]() {
        auto& entry = mount.files[file];
        if (entry.kind != LeaseKind::WRITE || entry.recalling || !isValid(mount, entry)) return;
        after(transit(),
              [this, id, file, asked, answered, reply, content = entry.content, lifetime = epoch]() {
                auto still = leases->writerBeside(id, inodeOf(file));
                if (lifetime != epoch || *answered || still == nullptr ||
                    KJ_ASSERT_NONNULL(still).since != asked.since)
                  return;
                *answered = true;
                reply({true, content, {LeaseKind::NONE, leases->stamp()}});
              });
      });
      after(500 * MS, [this, answered, fallBack, lifetime = epoch]() {
        if (*answered || lifetime != epoch) return;
        *answered = true;
        fallBack();
      });
      return;
    }
    fallBack();  // it has ended
  }
  void serveChange(SessionId id, uint32_t file, uint64_t write, Then reply) {
    claim(id, file, Wish::CHANGE, [this, id, file, write, reply](ClaimId claim) {
      bool repeated = !changed.insert(write).second;
      auto version = repeated ? proposed[file] : ++proposed[file];
      if (!repeated) truth[file][version] = write;
      inLog([this, id, file, write, version, repeated, reply, claim, lifetime = epoch]() {
        if (!repeated) files[file] = {version, write};
        if (lifetime != epoch) return;
        reply(answerOf(id, file));
        finish(claim);
      });
    });
  }
  void servePublish(SessionId id, uint32_t file, Content content, Then reply) {
    if (!leases->mayWrite(id, inodeOf(file))) return reply({});
    proposed[file] = kj::max(proposed[file], content.version);
    auto claim = leases->publish(id, inodeOf(file));
    inLog([this, id, file, content, claim, reply, lifetime = epoch]() {
      if (files[file].version < content.version) files[file] = content;
      if (lifetime != epoch) return;
      reply(answerOf(id, file));
      finish(claim);
    });
  }

  // ------------------------------------------------------------------------------------------- the network

  void toMount(Mount& mount, std::function<void()> deliver) {
    after(transit(), [this, &mount, deliver, incarnation = mount.incarnation, lifetime = epoch]() {
      whenAwake(mount, [this, &mount, deliver, incarnation, lifetime]() {
        if (lifetime == epoch && incarnation == mount.incarnation) deliver();
      });
    });
  }
  void whenAwake(Mount& mount, std::function<void()> event) {
    if (mount.hangs <= now) return event();
    after(mount.hangs - now, [this, &mount, event]() { whenAwake(mount, event); });
  }
  void call(Mount& mount, std::function<void(SessionId, Then)> serve, Then then) {
    // Answered exactly once: by the metaserver, or after two seconds by nobody.
    auto answered = std::make_shared<bool>(false);
    auto once = [answered, then](Answer answer) {
      if (*answered) return;
      *answered = true;
      then(answer);
    };
    after(2000 * MS, [this, &mount, once]() { whenAwake(mount, [once]() { once({}); }); });
    if (!mount.attached) return;
    after(transit(), [this, &mount, serve, once, id = mount.session, incarnation = mount.incarnation,
                      lifetime = epoch]() {
      if (lifetime != epoch || incarnation != mount.incarnation) return;
      if (heard.count(id) == 0) {
        // Fenced: what it had is gone, and was lost when it was taken.
        toMount(mount, [this, &mount]() { begin(mount); });
        return;
      }
      heard.insert_or_assign(id, now);
      serve(id, [this, &mount, once](Answer answer) { toMount(mount, [once, answer]() { once(answer); }); });
    });
  }

  // --------------------------------------------------------------------------------------------- the mounts

  kj::Duration termOf(Mount& mount) { return LEASE_CACHE_TERM * 100 / mount.clockPercent; }
  bool isValid(Mount& mount, Entry& entry) {
    return entry.kind != LeaseKind::NONE && now < mount.renewed + termOf(mount);
  }
  void begin(Mount& mount) {
    mount.session = SessionId(++sessions);
    ++mount.incarnation;
    mount.attached = true;
    mount.renewed = now;
    mount.voidUpTo = LeaseStamp();
    for (auto& entry : mount.files) entry = Entry();
    heard.insert_or_assign(mount.session, now);
    leases->opened(mount.session, CacheLeases::Caching::YES, now);
    settle();
  }
  void attachLater(Mount& mount) {
    after((10 + draw(800)) * MS, [this, &mount]() { whenAwake(mount, [this, &mount]() { attach(mount); }); });
  }
  void attach(Mount& mount) {
    if (mount.attached) return;
    if (heard.count(mount.session) == 0) return begin(mount);
    auto sent = now;
    bool names = now < mount.renewed + termOf(mount);
    std::vector<HeldLease> named;
    for (uint32_t file = 0; file < FILES; ++file) {
      auto& entry = mount.files[file];
      entry.recalling = false;  // it is asked again
      if (names && entry.kind != LeaseKind::NONE) {
        named.push_back({inodeOf(file), entry.kind, entry.stamp});
      } else {
        forgetBuffered(mount, file);
        entry.kind = LeaseKind::NONE;
      }
    }
    ++mount.incarnation;
    mount.attached = true;
    for (auto inode : leases->resumed(mount.session, CacheLeases::Caching::YES,
                                      kj::arrayPtr(named.data(), named.size()), now)) {
      forgetBuffered(mount, fileOf(inode));
      mount.files[fileOf(inode)].kind = LeaseKind::NONE;
    }
    mount.renewed = sent;
    hear(mount, leases->voidUpTo(mount.session));
    settle();
  }
  void hear(Mount& mount, LeaseStamp voidUpTo) {
    mount.voidUpTo = kj::max(mount.voidUpTo, voidUpTo);
    for (uint32_t file = 0; file < FILES; ++file) {
      auto& entry = mount.files[file];
      if (entry.stamp > mount.voidUpTo || entry.kind == LeaseKind::NONE) continue;
      entry.dirty = false;  // lost when it was taken
      entry.kind = LeaseKind::NONE;
    }
  }
  void renewLater(Mount& mount) {
    after(LEASE_RENEW_INTERVAL, [this, &mount]() {
      whenAwake(mount, [this, &mount]() {
        auto sent = now;
        auto heard = std::make_shared<LeaseStamp>();
        call(
            mount,
            [this, heard](SessionId id, Then reply) {
              leases->renewed(id, now);
              *heard = leases->voidUpTo(id);
              settle();
              reply({true, {}, {}});
            },
            [this, &mount, sent, heard, incarnation = mount.incarnation](Answer answer) {
              if (!answer.ok || incarnation != mount.incarnation) return;
              hear(mount, *heard);
              mount.renewed = kj::max(mount.renewed, sent);
            });
        renewLater(mount);
      });
    });
  }
  void learn(Mount& mount, uint32_t file, const Answer& answer) {
    auto& entry = mount.files[file];
    auto& grant = answer.grant;
    // While its term does not run it does not know which of its leases are void.
    if (grant.stamp <= entry.told || now >= mount.renewed + termOf(mount)) return;
    bool isVoid =
        grant.kind == LeaseKind::NONE || grant.stamp <= entry.recalled || grant.stamp <= mount.voidUpTo;
    if (isVoid && entry.kind == LeaseKind::NONE) return;
    // What it says is newer than what is cached all the same: a recall that left the read has overtaken it.
    if (entry.kind != LeaseKind::WRITE) entry.content = answer.content;
    entry.told = grant.stamp;
    if (isVoid) return;
    entry.kind = grant.kind;
    entry.stamp = grant.stamp;
  }
  void recalled(Mount& mount, LeaseRecall recall) {
    auto file = fileOf(recall.inode);
    auto& entry = mount.files[file];
    entry.recalled = kj::max(entry.recalled, recall.stamp);
    entry.recalling = true;
    if (entry.dirty) {
      publish(mount, file, [this, &mount, recall]() { obey(mount, recall); });
    } else {
      after(draw(20) * MS, [this, &mount, recall]() {
        whenAwake(mount, [this, &mount, recall]() { obey(mount, recall); });
      });
    }
  }
  void obey(Mount& mount, LeaseRecall recall) {
    auto& entry = mount.files[fileOf(recall.inode)];
    if (entry.dirty) return recalled(mount, recall);  // a write that was under way
    if (entry.stamp < recall.stamp) entry.kind = kj::min(entry.kind, recall.allowed);
    entry.recalling = entry.recalled > recall.stamp && entry.kind != LeaseKind::NONE;
    if (!mount.attached) return;
    after(transit(), [this, id = mount.session, recall, lifetime = epoch]() {
      if (lifetime != epoch) return;
      leases->givenBack(id, {recall.inode, recall.allowed, recall.stamp}, now);
      settle();
    });
  }
  void publish(Mount& mount, uint32_t file, std::function<void()> then) {
    auto content = mount.files[file].content;
    call(
        mount, [this, file, content](SessionId id, Then reply) { servePublish(id, file, content, reply); },
        [this, &mount, file, content, then, incarnation = mount.incarnation](Answer answer) {
          auto& entry = mount.files[file];
          if (answer.ok && entry.content.version == content.version) entry.dirty = false;
          if (entry.dirty && incarnation == mount.incarnation && entry.kind == LeaseKind::WRITE)
            return publish(mount, file, then);
          then();
        });
  }

  void act(Mount& mount) {
    // A program does one thing after the other.
    auto again = [this, &mount]() {
      after(draw(chance(90) ? 20 : 500) * MS, [this, &mount]() {
        if (chance(1) && chance(30)) mount.hangs = now + (100 + draw(25'000)) * MS;
        if (chance(1) && chance(5)) mount.hangs = now + 61'000 * MS;
        whenAwake(mount, [this, &mount]() { act(mount); });
      });
    };
    auto file = uint32_t(draw(FILES));
    auto what = draw(10);
    if (what < 6) {
      read(mount, file, completed[file], losses, again);
    } else if (what < 8) {
      write(mount, file, again);
    } else {
      change(mount, file, again);
    }
  }
  void check(Mount& mount, uint32_t file, uint64_t atLeast, Content content, kj::StringPtr how) {
    // What was lost since the program asked need not be seen.
    if (content.version < kj::min(atLeast, completed[file])) {
      fail(kj::str("mount ", mount.number, " reads version ", content.version, " of file ", file, ", ", how,
                   ", when ", atLeast, " had been completed"));
    }
    auto right = truth[file].find(content.version);
    if (content.version >= kj::min(atLeast, completed[file]) && content.version > 0 &&
        (right == truth[file].end() || right->second != content.write))
      fail(kj::str("mount ", mount.number, " reads of file ", file, ", ", how, ", what nobody wrote"));
  }
  void read(Mount& mount, uint32_t file, uint64_t atLeast, uint64_t lossesThen, std::function<void()> then) {
    auto& entry = mount.files[file];
    if (isValid(mount, entry) && !entry.recalling) {
      ++hits;
      if (losses == lossesThen) check(mount, file, atLeast, entry.content, "cached");
      return then();
    }
    if (entry.dirty) {
      // Its own write, of which nobody else knows: it waits until it is sure of its lease again.
      after(300 * MS, [this, &mount, file, atLeast, lossesThen, then]() {
        whenAwake(mount, [this, &mount, file, atLeast, lossesThen, then]() {
          read(mount, file, atLeast, lossesThen, then);
        });
      });
      return;
    }
    ++misses;
    auto most = chance(30) ? LeaseKind::WRITE : LeaseKind::READ;
    call(
        mount, [this, file, most](SessionId id, Then reply) { serveRead(id, file, most, reply); },
        [this, &mount, file, atLeast, lossesThen, then](Answer answer) {
          if (!answer.ok) return read(mount, file, atLeast, lossesThen, then);
          learn(mount, file, answer);
          // Told before something was lost, it may be what was lost.
          if (losses == lossesThen) check(mount, file, atLeast, answer.content, "asked");
          then();
        });
  }
  void write(Mount& mount, uint32_t file, std::function<void()> then) {
    auto& entry = mount.files[file];
    if (entry.kind == LeaseKind::WRITE && isValid(mount, entry) && !entry.recalling) {
      ++buffered;
      entry.content = {entry.content.version + 1, ++writes};
      entry.dirty = true;
      completed[file] = entry.content.version;
      truth[file][entry.content.version] = entry.content.write;
      return then();
    }
    call(
        mount,
        [this, file](SessionId id, Then reply) {
          claim(id, file, Wish::WRITE, [this, id, file, reply](ClaimId claim) {
            reply(answerOf(id, file));
            finish(claim);
          });
        },
        [this, &mount, file, then](Answer answer) {
          if (answer.ok) learn(mount, file, answer);
          if (answer.ok && mount.files[file].kind == LeaseKind::WRITE) return write(mount, file, then);
          then();  // another time
        });
  }
  void change(Mount& mount, uint32_t file, std::function<void()> then) {
    auto& entry = mount.files[file];
    if (entry.recalling) return then();
    if (entry.dirty) return publish(mount, file, then);
    sendChange(mount, file, ++writes, mount.session, then);
  }
  void sendChange(Mount& mount, uint32_t file, uint64_t number, SessionId session,
                  std::function<void()> then) {
    // Until it is answered: nothing is written under a lease beside a change that may come at any time.
    if (mount.session != session) return then();
    call(
        mount, [this, file, number](SessionId id, Then reply) { serveChange(id, file, number, reply); },
        [this, &mount, file, number, session, then](Answer answer) {
          if (!answer.ok) return sendChange(mount, file, number, session, then);
          ++changes;
          completed[file] = kj::max(completed[file], answer.content.version);
          auto& entry = mount.files[file];
          if (entry.kind == LeaseKind::WRITE && answer.content.version > entry.content.version)
            entry.content = answer.content;  // its own change of what it is the authority for
          learn(mount, file, answer);
          then();
        });
  }
};

uint64_t firstSeed() {
  auto text = getenv("LEASE_SEED");
  return text == nullptr ? 1 : strtoull(text, nullptr, 10);
}

void tellStories(bool restarts) {
  auto given = getenv("LEASE_STORIES");
  auto stories = getenv("LEASE_SEED") != nullptr ? 1 : given != nullptr ? strtoull(given, nullptr, 10) : 25;
  uint64_t hits = 0, buffered = 0, changes = 0, losses = 0;
  auto first = firstSeed();
  for (auto seed = first; seed < first + stories; ++seed) {
    Story story(seed);
    story.restarts = restarts;
    story.tell(180 * kj::SECONDS);
    for (auto& text : story.wrong) ADD_FAILURE() << text.cStr() << " (LEASE_SEED=" << seed << ")";
    hits += story.hits, buffered += story.buffered, changes += story.changes, losses += story.losses;
    if (!story.wrong.empty()) return;
  }
  // Else it has shown nothing.
  EXPECT_GT(hits, 1000u);
  EXPECT_GT(buffered, 500u);
  EXPECT_GT(changes, 500u);
  EXPECT_GT(losses, 0u);
}

TEST(LeaseCoherence, NoMountReadsWhatACompletedOperationOfAnotherHasOverwritten) {
  tellStories(false);
}

TEST(LeaseCoherence, NotEvenWhenTheMetaserverIsStartedAgain) {
  tellStories(true);
}

}  // namespace
}  // namespace cairn
