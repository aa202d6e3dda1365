// Reads dashboards as strictly as Grafana's schema is: a field that it does not have, or lacks, is an error.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	faults := 0
	for _, name := range os.Args[1:] {
		text, err := os.ReadFile(name)
		if err == nil {
			err = new(dashboard.Dashboard).UnmarshalJSONStrict(text)
		}
		if err != nil {
			fmt.Printf("%s: %v\n", name, err)
			faults++
		}
	}
	if faults > 0 {
		os.Exit(1)
	}
}
