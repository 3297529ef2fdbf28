package render

// Version is the answer of `cbops version`.
type Version struct {
	Meta
	Version  string `json:"version" yaml:"version"`
	Go       string `json:"go" yaml:"go"`
	Platform string `json:"platform" yaml:"platform"`
}

// NewVersion makes a Version.
func NewVersion(version, goVersion, platform string) Version {
	return Version{Meta: NewMeta("Version"), Version: version, Go: goVersion, Platform: platform}
}

// Page implements Document.
func (v Version) Page() Page {
	return Page{Name: "version", Answer: "cbops " + v.Version + " (" + v.Go + ", " + v.Platform + ")"}
}
