#ifndef LEAPSTREAM_SERVER_STATE_METRICS_H_
#define LEAPSTREAM_SERVER_STATE_METRICS_H_

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "server/serving.h"

namespace leapstream {

// The present state of a server, and the resources that its process uses: the gauges of a scrape.
std::vector<prometheus::MetricFamily> CollectState(const Serving& serving);

// All metrics, in Prometheus' text format.
std::string MetricsPage(const Serving& serving);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_STATE_METRICS_H_
