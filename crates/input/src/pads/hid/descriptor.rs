//! Report descriptors, written item by item (HID 1.11, section 6.2.2).

/// Generic desktop controls.
pub const DESKTOP: u16 = 0x01;
/// Buttons.
pub const BUTTON: u16 = 0x09;
/// The maker's own.
pub const VENDOR: u16 = 0xff00;

/// A descriptor that grows.
#[derive(Default)]
pub struct Descriptor(Vec<u8>);

impl Descriptor {
    /// A gamepad's, still open: [`Descriptor::end`] closes it.
    pub fn gamepad() -> Self {
        // Usage "gamepad", collection "application".
        Self::default().page(DESKTOP).usage(0x05).item(0xa0, 0x01)
    }

    /// The report that the following fields belong to.
    pub fn report(self, id: u8) -> Self {
        self.item(0x84, id.into())
    }

    /// Usage page.
    pub fn page(self, page: u16) -> Self {
        self.item(0x04, page)
    }

    /// One usage.
    pub fn usage(self, usage: u8) -> Self {
        self.item(0x08, usage.into())
    }

    /// Values from 0 to `maximum`.
    pub fn to(self, maximum: u16) -> Self {
        self.item(0x14, 0).item(0x24, maximum)
    }

    /// `count` input fields of `bits` each, one value each.
    pub fn input(self, count: u8, bits: u8) -> Self {
        self.item(0x74, bits.into()).item(0x94, count.into()).item(0x80, 0x02)
    }

    /// A switch with eight directions; all other values mean none.
    pub fn hat(self) -> Self {
        // Physical 0 to 315, unit degrees; "null state". The unit ends here.
        let hat = self.page(DESKTOP).usage(0x39).to(7).item(0x34, 0).item(0x44, 315).item(0x64, 0x14);
        hat.item(0x74, 4).item(0x94, 1).item(0x80, 0x42).item(0x64, 0)
    }

    /// Buttons 1 to `count`, a bit each.
    pub fn buttons(self, count: u8) -> Self {
        self.page(BUTTON).item(0x18, 1).item(0x28, count.into()).to(1).input(count, 1)
    }

    /// So many bits with a meaning that the maker knows.
    pub fn opaque(self, usage: u8, count: u8, bits: u8) -> Self {
        let maximum = if bits == 8 { 255 } else { 1 };
        self.page(VENDOR).usage(usage).to(maximum).input(count, bits)
    }

    /// A report of `count` opaque bytes to the device.
    pub fn output_report(self, id: u8, usage: u8, count: u8) -> Self {
        self.report(id)
            .page(VENDOR)
            .usage(usage)
            .to(255)
            .item(0x74, 8)
            .item(0x94, count.into())
            .item(0x90, 0x02)
    }

    /// A report of `count` opaque bytes that is read or written on request.
    pub fn feature_report(self, id: u8, usage: u8, count: u8) -> Self {
        self.report(id)
            .page(VENDOR)
            .usage(usage)
            .to(255)
            .item(0x74, 8)
            .item(0x94, count.into())
            .item(0xb0, 0x02)
    }

    /// Closes the collection.
    pub fn end(mut self) -> Vec<u8> {
        self.0.push(0xc0);
        self.0
    }

    /// One short item with as many bytes as its value needs. Values are signed where they are limits.
    fn item(mut self, tag: u8, value: u16) -> Self {
        let signed_limit = matches!(tag, 0x14 | 0x24 | 0x34 | 0x44);
        let one_byte = if signed_limit { 0x7f } else { 0xff };
        if value <= one_byte {
            self.0.extend([tag | 1, value as u8]);
        } else {
            self.0.push(tag | 2);
            self.0.extend(value.to_le_bytes());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_have_the_bytes_of_the_specification() {
        let bytes = Descriptor::gamepad().report(1).usage(0x30).to(255).input(1, 8).end();
        let expected = [
            0x05, 0x01, 0x09, 0x05, 0xa1, 0x01, 0x85, 0x01, 0x09, 0x30, 0x15, 0x00, 0x26, 0xff, 0x00, 0x75,
            0x08, 0x95, 0x01, 0x81, 0x02, 0xc0,
        ];
        assert_eq!(bytes, expected);
        let hat = Descriptor::default().hat().0;
        assert_eq!(hat[..8], [0x05, 0x01, 0x09, 0x39, 0x15, 0x00, 0x25, 0x07]);
        assert_eq!(hat[8..13], [0x35, 0x00, 0x46, 0x3b, 0x01]);
        assert_eq!(Descriptor::default().page(VENDOR).0, [0x06, 0x00, 0xff]);
    }
}
