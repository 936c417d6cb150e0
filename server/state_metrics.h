#ifndef LEAPSTREAM_SERVER_STATE_METRICS_H_
#define LEAPSTREAM_SERVER_STATE_METRICS_H_

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "server/serving.h"

namespace leapstream {

// What a server is like at this moment, and what its process uses: the gauges of a scrape.
std::vector<prometheus::MetricFamily> CollectState(const Serving& serving);

// All metrics, in Prometheus' text format.
std::string MetricsPage(const Serving& serving);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_STATE_METRICS_H_
