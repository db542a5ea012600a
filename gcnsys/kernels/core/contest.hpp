// Which of several ways to do the same thing takes least time, while the machine is now faster and now slower.
//
// Times of different minutes cannot be compared on a machine that others use. So a way is judged by its time over
// that which the best way known took just before, several times over, and the median counts.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gcnsys {

class Contest {
public:
    explicit Contest(std::size_t ways) : trials_(ways) {
        if (ways) trials_[0].cold = true;
    }

    // The way to go now. The first calls go one way each; most others go the best one, one of five another that may
    // be better as long as there is any, and later one of 17 another that is close: what is fastest may change.
    std::size_t next() {
        for (std::size_t i = 0; i < trials_.size(); ++i)
            if (!trials_[i].count) return i;
        ++turn_;
        if (turn_ % often == 0)
            if (const std::size_t way = doubted(); way < trials_.size()) return way;
        if (turn_ % rarely == 0)
            if (const std::size_t way = close_one(); way < trials_.size()) return way;
        return best_;
    }

    // Takes the seconds that a way took.
    void settle(std::size_t way, double seconds) {
        Trial& trial = trials_[way];
        if (seconds <= 0) seconds = 1e-9;  // of a clock that is too coarse
        if (!begun_) return begin(way, seconds);
        if (way == best_) return pace_.note(seconds);
        trial.note(seconds / pace_.typical());
        if (trial.count >= looks && trial.typical() < better) crown(way, seconds);
    }

    std::size_t size() const { return trials_.size(); }

    std::size_t best() const { return best_; }

    // What a way takes over what the best one takes; 1 of the best. Only once it has begun.
    double behind(std::size_t way) const { return way == best_ ? 1 : trials_[way].typical(); }

    // Whether every way was gone once.
    bool begun() const { return begun_; }

    // Whether no way is in doubt.
    bool decided() const { return begun_ && doubted() == trials_.size(); }

private:
    static constexpr int looks = 5;    // until a way is judged
    static constexpr int latest = 11;  // looks that count
    // Of so many calls, one goes a way that is in doubt, or close. Products come in turns, such as forward and
    // backward of one layer or two: these numbers meet all of them.
    static constexpr int often = 5, rarely = 17;
    static constexpr double better = 0.98;   // of the best way's time: takes its place
    static constexpr double hopeless = 1.3;  // times it: not looked at again
    static constexpr double far = 2;         // the same after one look, which is no verdict
    static constexpr double close = 1.15;    // times it: looked at now and then

    // The latest of the numbers that were noted.
    template <int Kept>
    struct Latest {
        std::array<double, Kept> seen{};
        std::int64_t count = 0;

        void note(double number) { seen[std::size_t(count++ % Kept)] = number; }

        // Their median; of an even number, the lower of both.
        double typical() const {
            std::array<double, Kept> sorted = seen;
            const std::int64_t known = std::clamp<std::int64_t>(count, 1, Kept);
            std::sort(sorted.begin(), sorted.begin() + known);
            return sorted[std::size_t((known - 1) / 2)];
        }
    };

    struct Trial : Latest<latest> {
        bool cold = false;  // memory was, at the first look

        bool doubted() const {
            return count < looks && (typical() < (count == 1 ? far : hopeless) || (count == 1 && cold));
        }
    };

    void begin(std::size_t way, double seconds) {
        if (!trials_[way].count) trials_[way].note(seconds);
        for (const Trial& trial : trials_)
            if (!trial.count) return;
        for (std::size_t i = 0; i < trials_.size(); ++i)
            if (trials_[i].typical() < trials_[best_].typical()) best_ = i;
        pace_.note(trials_[best_].typical());
        for (Trial& trial : trials_) trial.seen[0] /= pace_.typical();
        begun_ = true;
    }

    void crown(std::size_t way, double seconds) {
        const double gain = trials_[way].typical();
        trials_[best_].seen.fill(1), trials_[best_].count = looks;
        for (Trial& trial : trials_)
            for (double& number : trial.seen) number /= gain;
        best_ = way, pace_ = {}, pace_.note(seconds);
    }

    // The fastest of the ways that are in doubt.
    std::size_t doubted() const {
        return first([](const Trial& trial) { return trial.doubted(); },
                     [](const Trial& trial) { return trial.typical(); });
    }

    // Of the ways that are close to the best one, that which was looked at least often.
    std::size_t close_one() const {
        return first([](const Trial& trial) { return trial.typical() < close; },
                     [](const Trial& trial) { return trial.count; });
    }

    // The way other than the best of the least number, among those asked for; or how many ways there are.
    template <class Asked, class Number>
    std::size_t first(Asked asked, Number number) const {
        std::size_t found = trials_.size();
        for (std::size_t i = 0; i < trials_.size(); ++i)
            if (i != best_ && asked(trials_[i]) && (found == trials_.size() || number(trials_[i]) < number(trials_[found])))
                found = i;
        return found;
    }

    std::vector<Trial> trials_;  // the first numbers are seconds, until all have one; then times the best way's
    Latest<3> pace_;             // seconds of the best way
    std::size_t best_ = 0;
    long turn_ = 0;
    bool begun_ = false;
};

}  // namespace gcnsys
